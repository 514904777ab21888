"""The page of a sweep: its table and one picture, in the look of a run's report. Opens offline, without JavaScript.

Values, names and messages are hostile text: the template engine escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from accord.monitor.page import render_page
from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.sweep_curves import curve_pictures
from accord.monitor.sweep_table import figure, heads_and_rows, notes, runs_text, title
from accord.monitor.values import clean, number, short, table

_LABEL = 44  # letters of a setting beside the picture


def sweep_page(content: Mapping[str, Any]) -> str:
    """The page as HTML text that encodes as UTF-8, from the content of sweep.json."""
    heads, rows = heads_and_rows(content)
    return render_page(
        "sweep.html.j2",
        sweep=content,
        title=title(content),
        notes=[line for line in notes(content) if line != content["verdict"]],  # which stands above
        heads=heads,
        rows=rows,
        picture=dots_and_intervals(content),
        curves=curve_pictures(table(content.get("curves"))),
    )


def dots_and_intervals(content: Mapping[str, Any]) -> Picture:
    """A row a setting: the mean, its interval, and every run as a small circle. "" when no run is done.

    A setting without a run keeps its row.
    """
    settings = [table(one) for one in content["settings"]]
    labels = {str(one["label"]): f"{at}. {_brief(one)}" for at, one in enumerate(settings, start=1)}
    means: list[Datum] = []
    for one in settings:
        if (value := number(one.get("value"))) is not None:
            means.append({"label": labels[str(one["label"])], "x": value})
            low, high = number(one.get("low")), number(one.get("high"))
            means[-1] |= {} if low is None or high is None else {"x_low": low, "x_high": high}
    if not means:
        return NOTHING
    of_setting = {tuple(sorted(one["setting"].items())): labels[str(one["label"])] for one in settings}
    runs: list[Datum] = [
        {"label": of_setting[tuple(sorted(run["setting"].items()))], "x": value}
        for run in content["runs"]
        if (value := number(run.get("value"))) is not None
    ]
    rows: list[Datum] = [{"label": label} for label in labels.values()]
    axis = alt.Axis(title=None, grid=True, ticks=False, domain=False, labelPadding=8, labelLimit=320)
    y = alt.Y("label:N", sort=list(labels.values()), axis=axis)
    scale = alt.Scale(zero=False, padding=12, nice=False)
    x = alt.X("x:Q", title=clean(content["metric"], 60), scale=scale, axis=alt.Axis(tickCount=6, grid=False))
    chart = alt.layer(
        alt.Chart(data_of(rows)).mark_point(opacity=0).encode(y=y),
        alt.Chart(data_of([one for one in means if "x_low" in one])).mark_rule(
            strokeWidth=3, opacity=0.55, color=PALETTE[1]
        ).encode(x=alt.X("x_low:Q", scale=scale), x2="x_high:Q", y=y),
        alt.Chart(data_of(runs)).mark_point(size=40, color=INK, opacity=0.6).encode(x=x, y=y),
        alt.Chart(data_of(means)).mark_point(size=90, filled=True, opacity=1, color=PALETTE[1]).encode(x=x, y=y),
    ).properties(width=WIDTH - 330, height=alt.Step(28))  # fmt: skip
    told = ", ".join(f"{one['label']}: {figure(one.get('value'))}, {runs_text(one)} runs" for one in settings)
    nums = sorted({int(one["num_done"]) for one in settings})
    return render(
        chart,
        f"{clean(content['metric'], 60)} of each setting",
        clean(told),
        rows=[{"mark": "mean", **one} for one in means] + [{"mark": "run", **one} for one in runs],
        columns={"mark": "mark", "label": "setting", "x": str(content["metric"]), "x_low": "low", "x_high": "high"},
        note=f"n: {' to '.join(str(num) for num in dict.fromkeys([nums[0], nums[-1]]))} runs of a setting; the table "
        "names each interval",
    )


def _brief(setting: Mapping[str, Any]) -> str:
    """A setting without the names of its steps, which the table has; the number before it tells it apart."""
    values = {key.rpartition(".")[2]: value for key, value in setting["setting"].items()}
    return short(", ".join(f"{key}={value}" for key, value in values.items()) or setting["label"], _LABEL)

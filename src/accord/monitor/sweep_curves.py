"""The pictures of numbers over a swept number: a panel for each measure, with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt

from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import clean, number, percent, short, table

_COLOURS: Final = (PALETTE[1], PALETTE[3], PALETTE[2], PALETTE[4], PALETTE[5], PALETTE[0])
_BESIDE: Final = (PALETTE[3], PALETTE[2], PALETTE[0])  # of lines beside the main one
_COLUMNS: Final = 2


def curve_pictures(curves: Mapping[str, Any]) -> Picture:
    """curves: as `accord.sweep.curves` has them. "" where there are none."""
    panels = [table(panel) for panel in curves.get("panels") or []]
    if not panels:
        return NOTHING
    columns = min(_COLUMNS, len(panels))
    width = (WIDTH - 20 - 80 * (columns - 1)) // columns - 10
    values = [str(value) for value in curves["values"]]
    charts = [_panel(panel, short(curves["axis"], 40), values, width, 6 // columns) for panel in panels]
    chart = alt.concat(*charts, columns=columns, bounds="flush", spacing={"row": 130, "column": 70})
    chart = chart.resolve_scale(color="independent")
    return render(
        chart,
        f"Measures over {clean(curves['axis'], 60)}",
        "; ".join(_told(panel) for panel in panels),
        rows=[
            {"panel": panel["title"], "line": line["name"], **point}
            for panel in panels
            for line in panel["lines"]
            for point in line["points"]
        ],
        columns={
            "panel": "measure",
            "line": "line",
            "x": str(curves["axis"]),
            "value": "mean",
            "low": "low",
            "high": "high",
            "interval": "interval",
            "num_runs": "runs",
        },
        note="n: runs of each point stand in the data; 95 % intervals: Student's t over seeds, of three or more",
    )


def _panel(panel: Mapping[str, Any], axis: str, values: Sequence[str], width: int, columns: int) -> Any:
    points: list[Datum] = []
    names: dict[str, str] = {}
    mains = sum(bool(line["main"]) for line in panel["lines"])
    for at, line in enumerate(panel["lines"]):
        name = short(line["name"])
        names[name] = _COLOURS[at % len(_COLOURS)] if mains > 1 or line["main"] else _BESIDE[(at - 1) % len(_BESIDE)]
        for point in line["points"]:
            ends = {"low": number(point["low"]), "high": number(point["high"])} if line["main"] else {}
            known = {end: x for end, x in ends.items() if x is not None}
            points.append({"x": str(point["x"]), "y": point["value"], "line": name, **known})
            points[-1]["main"] = "main" if line["main"] else "beside"
    share = bool(panel["percent"])
    scale = alt.Scale(domain=list(names), range=list(names.values()))
    legend = alt.Legend(
        title=None, orient="bottom", columns=columns, symbolType="stroke", symbolStrokeWidth=2, symbolOpacity=1
    )
    x = alt.X("x:O", title=axis, sort=list(values), scale=alt.Scale(domain=list(values)), axis=alt.Axis(labelAngle=0))
    y_scale = alt.Scale(zero=False, padding=6, nice=False)
    y = alt.Y(
        "y:Q", title=None, scale=y_scale, axis=alt.Axis(format="%", tickCount=5) if share else alt.Axis(tickCount=5)
    )
    colour = alt.Color("line:N", scale=scale, sort=list(names), legend=legend)
    dash = alt.StrokeDash("main:N", scale=alt.Scale(domain=["main", "beside"], range=[[1, 0], [4, 3]]), legend=None)
    base = alt.Chart(data_of(points))
    banded = alt.Chart(data_of([point for point in points if "low" in point and "high" in point]))
    layers = [
        banded.mark_area(opacity=0.15).encode(x=x, y=alt.Y("low:Q", scale=y_scale), y2="high:Q", color=colour),
        banded.mark_rule(strokeWidth=2, opacity=0.5).encode(
            x=x, y=alt.Y("low:Q", scale=y_scale), y2="high:Q", color=colour
        ),
        base.mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour, strokeDash=dash),
        base.mark_point(size=28, filled=True, opacity=1).encode(x=x, y=y, color=colour),
    ]
    title = alt.Title(short(panel["title"], 50), fontSize=12, fontWeight=600, anchor="start", color=INK)
    return alt.layer(*layers).properties(width=width, height=200, title=title)


def _told(panel: Mapping[str, Any]) -> str:
    said = []
    for line in panel["lines"]:
        numbers = ", ".join(
            f"{percent(point['value'])} %" if panel["percent"] else f"{point['value']:.2f}" for point in line["points"]
        )
        said.append(f"{clean(line['name'], 40)} {numbers}")
    return f"{clean(panel['title'], 80)}: {', '.join(said)}"

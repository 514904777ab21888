"""A picture of a reward model on held-out comparisons: its accuracy by how clear the preference is, and whether the gap
of two scores is the probability that it claims to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import altair as alt

from accord.monitor.svg import NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import number, percent, short, table

_HEIGHT: Final = 180
_WIDTH: Final = (WIDTH - 270) // 2  # of each of the two, beside the labels
_PERCENT: Final = alt.Axis(format="%", tickCount=5, grid=False)


def _of(low: float) -> alt.Scale:
    return alt.Scale(domain=[low, 1.0], nice=False)


def calibration(name: str, evaluation: Mapping[str, Any]) -> Picture:
    """Left the accuracy on all pairs and at each level of preference, right the reliability curve; "" when there is
    neither.

    name: of the step. evaluation: its evaluation.json, of which the accuracy, `levels` and `curve` are drawn.
    """
    rows = {"all pairs": evaluation, **{short(level): row for level, row in table(evaluation.get("levels")).items()}}
    levels = [
        {"label": f"{label} ({number(row.get('num_pairs')) or 0:,.0f})", **told}
        for label, row in ((label, table(row)) for label, row in rows.items())
        if (told := _share(row, "accuracy"))
    ]
    bins = evaluation.get("curve")
    curve: list[Datum] = [
        {"claim": claim, **told}
        for row in map(table, bins if isinstance(bins, list) else ())
        if (claim := number(row.get("predicted"))) is not None and (told := _share(row, "share"))
    ]
    charts: list[Any] = [*([_by_level(levels)] if levels else []), *([_reliability(curve)] if curve else [])]
    if not charts:
        return NOTHING
    said = [f"{one['label']} {percent(one['share'])} %" for one in levels]
    said += [f"claimed {percent(one['claim'])} % came true {percent(one['share'])} %" for one in curve]
    num = number(evaluation.get("num_pairs"))
    return render(
        alt.hconcat(*charts, spacing=30),
        f"Accuracy and calibration of {short(name)}",
        ", ".join(said),
        rows=[{"of": "accuracy", **one} for one in levels] + [{"of": "calibration", **one} for one in curve],
        columns={
            "of": "picture",
            "label": "pairs",
            "claim": "claimed probability",
            "share": "share",
            "low": "low",
            "high": "high",
        },
        note=f"{'n not recorded' if num is None else f'n: {num:,.0f} pairs'}; 95 % intervals: bootstrap by prompt "
        "(accuracy), Wilson's, counting prompts (calibration)",
    )


def _share(row: Mapping[str, Any], key: str) -> Datum:
    """`share` with, where they are known, `low` and `high`; empty without it."""
    numbers = {
        name: number(row.get(at)) for name, at in (("share", key), ("low", f"{key}_low"), ("high", f"{key}_high"))
    }
    known: Datum = {name: value for name, value in numbers.items() if value is not None}
    return known if "share" in known else {}


def _by_level(levels: list[Datum]) -> alt.TopLevelMixin:
    axis = alt.Axis(title=None, grid=True, ticks=False, domain=False, labelPadding=8)
    y = alt.Y("label:N", sort=[str(one["label"]) for one in levels], axis=axis)
    x = alt.X("share:Q", title="share of pairs in their order", scale=_of(0.0), axis=_PERCENT)
    chance = alt.Chart(data_of([{"share": 0.5}])).mark_rule(strokeDash=[4, 4], color=PALETTE[0]).encode(x=x)
    dots, bars = _marks(levels, PALETTE[3])
    layers = (
        chance,
        bars.encode(x=alt.X("low:Q", title="share of pairs in their order"), x2="high:Q", y=y),
        dots.encode(x=x, y=y),
    )
    return alt.layer(*layers, width=_WIDTH, height=_HEIGHT)


def _reliability(curve: list[Datum]) -> alt.TopLevelMixin:
    """The dashed line is a model whose claims all hold."""
    x = alt.X("claim:Q", title="probability that the gap claims", scale=_of(0.5), axis=_PERCENT)
    y = alt.Y("share:Q", title="share that came true", scale=_of(0.0), axis=_PERCENT)
    honest = alt.Chart(data_of([{"claim": p, "share": p} for p in (0.5, 1.0)]))
    line = honest.mark_line(strokeDash=[4, 4], strokeWidth=1, color=PALETTE[0]).encode(x=x, y=y)
    dots, bars = _marks(curve, PALETTE[1])
    layers = line, bars.encode(x=x, y=alt.Y("low:Q", title="share that came true"), y2="high:Q"), dots.encode(x=x, y=y)
    return alt.layer(*layers, width=_WIDTH, height=_HEIGHT)


def _marks(data: list[Datum], colour: str) -> tuple[alt.Chart, alt.Chart]:
    """Points, and rules for their intervals."""
    bars = alt.Chart(data_of([one for one in data if "low" in one and "high" in one]))
    return (
        alt.Chart(data_of(data)).mark_point(size=70, filled=True, opacity=1, color=colour),
        bars.mark_rule(strokeWidth=2.5, opacity=0.55, color=colour),
    )

"""What safety context distillation did, for a page: what was kept, how safe answers are before and after, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import ABSENT, fixed, number, percent, short, table

_SETS: Final = {
    "distilled": "distilled",
    "asked_again": "asked again",
    "held_out": "held out",
}
_OUTCOMES: Final = {
    "num_prompts": "prompts asked",
    "num_tried": "asked again",
    "num_kept": "kept",
    "num_not_better": "not better",
    "num_truncated": "cut off",
    "num_empty": "empty",
}
_CONTEXTS: Final = {"none": "no preprompt", "generic": "a generic one", "tailored": "a tailored one"}
_NUM_BINS: Final = 24
_KEPT, _NOT = "kept", "not kept"


@dataclass(frozen=True, slots=True)
class DistillationPanel:
    """counts: of prompts, by what became of them. rows: of sets of prompts, each a name and the cells before, after,
    difference, unsafe before, unsafe after. contexts: mean logits by preprompt. refusals: a sentence, or "".
    scatter, histograms: pictures, or ""."""

    name: str
    counts: list[tuple[str, str]]
    rows: list[tuple[str, list[tuple[str, str]]]]
    contexts: list[tuple[str, tuple[str, str]]]
    refusals: str
    scatter: Picture
    histograms: Picture


def distillation_panel(name: str, results: Mapping[str, Any], summary: Mapping[str, Any]) -> DistillationPanel:
    """name: of the step. results, summary: its results.json and summary.json, of which anything may be missing."""
    safety, contexts = table(results.get("safety")), table(results.get("contexts"))
    return DistillationPanel(
        name=name,
        counts=[(title, _count(summary.get(key))) for key, title in _OUTCOMES.items()],
        rows=[(f"{title} ({_count(table(safety[key]).get('num'))})", _cells(table(safety[key])))
              for key, title in _SETS.items() if table(safety.get(key))],
        contexts=[(title, _logit(table(contexts[key]))) for key, title in _CONTEXTS.items() if key in contexts],
        refusals=_refusals(table(results.get("false_refusals"))),
        scatter=original_against_distilled(name, _list(results.get("points"))),
        histograms=before_and_after(name, table(results.get("scores"))),
    )  # fmt: skip


def original_against_distilled(step: str, points: Sequence[Any]) -> Picture:
    """Each prompt by the logits of being safe of its original answer and of the best response with a preprompt; above
    the diagonal the response is safer."""
    shown: list[Datum] = []
    for point in points:
        x, y = (number(table(point).get(key)) for key in ("original", "distilled"))
        if x is not None and y is not None:
            shown.append({"x": x, "y": y, "outcome": _KEPT if table(point).get("kept") else _NOT})
    if not shown:
        return NOTHING
    ends = [
        min(min(float(d["x"]), float(d["y"])) for d in shown),
        max(max(float(d["x"]), float(d["y"])) for d in shown),
    ]
    low, high = (ends[0] - 0.5, ends[1] + 0.5) if ends[0] == ends[1] else ends
    scale, axis = alt.Scale(domain=[low, high], nice=True), alt.Axis(tickCount=6)
    x_axis = alt.X("x:Q", title="original answer: logit of being safe", scale=scale, axis=axis)
    y_axis = alt.Y("y:Q", title="with a preprompt: logit of being safe", scale=scale, axis=axis)
    colour = alt.Color(
        "outcome:N",
        scale=alt.Scale(domain=[_KEPT, _NOT], range=[PALETTE[1], PALETTE[2]]),
        legend=alt.Legend(title=None, symbolOpacity=1),
    )
    shape = alt.Shape("outcome:N", scale=alt.Scale(domain=[_KEPT, _NOT], range=["circle", "cross"]), legend=None)
    layers = [
        alt.Chart(data_of([{"x": low, "y": low}, {"x": high, "y": high}]))
        .mark_line(strokeWidth=1, strokeDash=[3, 3], color=INK, opacity=0.5)
        .encode(x=x_axis, y=y_axis),
        alt.Chart(data_of(shown))
        .mark_point(size=40, filled=True, opacity=0.7)
        .encode(x=x_axis, y=y_axis, color=colour, shape=shape),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH - 300, height=WIDTH - 340)
    kept = sum(point["outcome"] == _KEPT for point in shown)
    return render(
        chart,
        f"Safety with a preprompt against without, {short(step, 40)}",
        f"{kept} of {len(shown)} responses are kept",
        rows=shown,
        columns={"x": "logit of the original answer", "y": "logit with a preprompt", "outcome": "outcome"},
        note=f"n: {len(shown):,} prompts; single responses, no intervals",
    )


def before_and_after(step: str, scores: Mapping[str, Any]) -> Picture:
    """Histograms of the logits of being safe, before above after, of each set of prompts side by side."""
    sets = {}
    for key, title in _SETS.items():
        both = {when: _numbers(table(scores.get(key)).get(when)) for when in ("before", "after")}
        if all(both.values()):
            sets[title] = both
    every = [x for both in sets.values() for some in both.values() for x in some]
    if not every:
        return NOTHING
    low, high = min(every), max(every)
    width = (high - low) / _NUM_BINS or 1.0
    x_scale = alt.Scale(domain=[low, low + width * _NUM_BINS], nice=False)
    most = max(max(_bins(some, low, width)) for both in sets.values() for some in both.values())
    y_scale = alt.Scale(domain=[0, most])
    size, rows = (WIDTH - 90) // 2 if len(sets) > 1 else WIDTH - 90, []
    for when, colour in (("before", PALETTE[0]), ("after", PALETTE[1])):
        charts = [
            _histogram(both[when], low, width, colour).encode(
                x=alt.X("x:Q", title=f"{title}, {when}", scale=x_scale, axis=alt.Axis(tickCount=6)),
                x2="x2:Q",
                y=alt.Y("num:Q", title="prompts", scale=y_scale, axis=alt.Axis(tickCount=3, format="d")),
                y2="none:Q",
            )
            .properties(width=size - 30, height=90)
            for title, both in sets.items()
        ]  # fmt: skip
        rows.append(alt.hconcat(*charts))
    told = [
        f"{title}: mean {fixed(_mean(both['before']))} before and {fixed(_mean(both['after']))} after"
        for title, both in sets.items()
    ]
    counted = [f"{title} {len(both['before']):,}" for title, both in sets.items()]
    return render(
        alt.vconcat(*rows),
        f"Safety of answers before and after, {short(step, 40)}",
        "; ".join(told),
        rows=[
            {"prompts": title, "when": when, "logit": x}
            for title, both in sets.items()
            for when, some in both.items()
            for x in some
        ],
        columns={"prompts": "prompts", "when": "when", "logit": "logit of being safe"},
        note=f"n, prompts: {', '.join(counted)}; single responses, no intervals",
    )


def _histogram(some: Sequence[float], low: float, width: float, colour: str) -> alt.Chart:
    bars: list[Datum] = [
        {"x": low + at * width, "x2": low + (at + 1) * width, "num": num, "none": 0}
        for at, num in enumerate(_bins(some, low, width))
        if num
    ]
    chart: alt.Chart = alt.Chart(data_of(bars)).mark_rect(color=colour, opacity=0.85)
    return chart


def _bins(some: Sequence[float], low: float, width: float) -> list[int]:
    counts = [0] * _NUM_BINS
    for x in some:
        counts[min(int((x - low) / width), _NUM_BINS - 1)] += 1
    return counts


def _mean(some: Sequence[float]) -> float:
    return sum(some) / len(some)


def _cells(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    logits = [_logit(table(row.get(key))) for key in ("before", "after", "difference")]
    return [*logits, *(_share(table(row.get(key))) for key in ("unsafe_before", "unsafe_after"))]


def _logit(one: Mapping[str, Any]) -> tuple[str, str]:
    if number(one.get("value")) is None:
        return ABSENT, ""
    return fixed(one["value"]), f"{fixed(one.get('low'))} to {fixed(one.get('high'))}"


def _share(one: Mapping[str, Any]) -> tuple[str, str]:
    if number(one.get("value")) is None:
        return ABSENT, ""
    return f"{percent(one['value'])} %", f"{percent(one.get('low'))} to {percent(one.get('high'))}"


def _refusals(of: Mapping[str, Any]) -> str:
    if not of:
        return "No borderline prompts were given (`borderline`), so whether more of them are refused now is not known."
    (before, around), (after, around_after) = (_share(table(of.get(key))) for key in ("before", "after"))
    p = number(of.get("p_value"))
    return (
        f"Of {_count(of.get('num'))} borderline prompts {before} ({around}) were refused before, and {after} "
        f"({around_after}) are now; {_count(of.get('newly_refused'))} are newly refused and "
        f"{_count(of.get('newly_answered'))} newly answered (McNemar's exact p {ABSENT if p is None else f'{p:.3f}'})."
    )


def _numbers(value: object) -> list[float]:
    return [x for one in _list(value) if (x := number(one)) is not None]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> str:
    x = number(value)
    return ABSENT if x is None else f"{x:,.0f}"

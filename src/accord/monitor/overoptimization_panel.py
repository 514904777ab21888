"""Over-optimisation, for a page: proxy and gold over the distance from the start policy, and where gold turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import altair as alt

from accord.monitor.overoptimization_text import (
    BEST_OF_N,
    CEILING,
    Line,
    curves_of,
    differences_in_words,
    in_deviations,
    study_lines,
)
from accord.monitor.pictures import DASHES, policy_colours
from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import number, short, table

_DISTANCE: Final = "√KL from the start policy (KL in nats per sequence)"
_OVER_PROMPTS: Final = "95 % intervals and bands: bootstrap over prompts and seeds"
_OVER_RUNS: Final = "95 % intervals and bands: bootstrap over the runs of a curve; of one run there are none"
_SCORE: Final = "score, in standard deviations"
_GOLD, _PROXY, _CHOSEN_BY_GOLD = "gold", "the proxy of itself", "gold, chosen by gold itself"
_TOGETHER: Final = 3  # curves of one panel; more have one each
_COLUMNS: Final = 3  # of panels
_PANEL: Final = (WIDTH - 26 - 46 * (_COLUMNS - 1)) // _COLUMNS


@dataclass(frozen=True, slots=True)
class Part:
    """One picture and its table. end: where the table's gold and proxy were measured. note: what the picture's axis is,
    where it is not what it seems. intervals: what they are. differences: pairs of curves and how much more gold the
    first has, in words."""

    title: str
    svg: Picture
    lines: Sequence[Line]
    end: str
    note: str
    intervals: str
    differences: Sequence[tuple[str, str]] = ()


def overoptimization_panel(name: str, results: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Part]:
    """results, summary: what a step `overoptimization` writes; what is missing is not drawn."""
    best_of_n = table(results.get("best_of_n"))
    parts = []
    for title, end, lines in study_lines(results):
        if title == BEST_OF_N:
            svg = best_of_n_picture(name, best_of_n, number(summary.get("num_prompts")))
            note = (
                f"The best of n responses, up to {end}, chosen by each proxy; the distance is log n - (n - 1) / n, an "
                "upper bound on the KL. Explained: R² about 0, which is always high, as all n are of the same samples: "
                "trust the intervals."
            )
            parts.append(Part(title, svg, lines, end, note, _OVER_PROMPTS, differences_in_words(best_of_n)))
        else:
            trainings = curves_of(results.get("training"))
            svg = training_picture(name, trainings)
            note = (
                "Each dot is a measurement during a training. The distance is that of the samples from the reference. "
                f"Explained: R² about 0; where it is low, read the dots.{_own_units(trainings)}"
            )
            parts.append(Part(title, svg, lines, end, note, _OVER_RUNS))
    return parts


def best_of_n_picture(name: str, found: Mapping[str, Any], num_prompts: float | None = None) -> Picture:
    """Dots and bars: the unbiased estimates of gold with their intervals. Lines: the fitted curve in its band, and the
    proxy, dashed. Grey: what choosing by gold itself would give."""
    proxies = curves_of(found.get("proxies"))
    distances = [math.sqrt(kl) for kl in map(number, found.get("kl") or ()) if kl is not None]
    points: list[Datum] = []
    for family, one in proxies.items():
        for by in ("gold", "proxy"):
            ends = zip(distances, *(one.get(key) or () for key in (by, f"{by}_low", f"{by}_high")), strict=False)
            points += [
                {"of": short(family), "by": by, "x": x, "y": y, "low": low, "high": high} for x, y, low, high in ends
            ]
    best = zip(distances, found.get("gold") or (), strict=False)
    ceiling: list[Datum] = [{"of": CEILING, "x": x, "y": y} for x, y in best]
    note = f"{'n not recorded' if num_prompts is None else f'n: {num_prompts:,.0f} prompts'}; {_SCORE}; {_OVER_PROMPTS}"
    return _picture(f"{name}: best of n", proxies, points, ceiling, list(_curves(proxies)), note)


def training_picture(name: str, trainings: Mapping[str, Mapping[str, Any]]) -> Picture:
    """Dots: gold at each measurement. Lines: the fitted curve, and its band where there are several runs; dashed, the
    proxy of each run, from one measurement to the next, which may be nearer to the start."""
    points: list[Datum] = []
    for family, one in trainings.items():
        for run, measured in table(one.get("points")).items():
            of: Datum = {"of": short(family), "run": run}
            points += [{**of, "by": "gold", "x": x, "y": gold} for x, _, gold in measured]
            points += [{**of, "by": "proxy", "x": x, "y": proxy} for x, proxy, _ in measured]
    num = sum(len(table(one.get("points"))) for one in trainings.values())
    note = f"n: {num:,} training{'' if num == 1 else 's'}; {_OVER_RUNS}.{_own_units(trainings)}".removesuffix(".")
    return _picture(f"{name}: training", trainings, points, [], list(_curves(trainings)), note)


def _own_units(trainings: Mapping[str, Mapping[str, Any]]) -> str:
    """A sentence on the trainings whose proxy is not in standard deviations, or ""."""
    own = [short(name) for name, one in trainings.items() if not in_deviations(one)]
    return f" What {', '.join(own)} learned from is in units of its own, as it is none of the proxies." if own else ""


def _curves(families: Mapping[str, Mapping[str, Any]]) -> Iterator[Datum]:
    for family, one in families.items():
        curve = table(one.get("curve"))
        columns = [curve.get(key) or () for key in ("distance", "gold", "gold_low", "gold_high")]
        for at, (x, y) in enumerate(zip(columns[0], columns[1], strict=False)):
            row: Datum = {"of": short(family), "x": x, "y": y}
            yield row | ({"low": columns[2][at], "high": columns[3][at]} if columns[2] and columns[3] else {})


def _picture(
    title: str,
    families: Mapping[str, Any],
    points: list[Datum],
    ceiling: Sequence[Datum],
    curves: list[Datum],
    note: str,
) -> Picture:
    if len({p["x"] for p in points}) < 2:
        return NOTHING
    names = [short(name) for name in families]
    chart = _together if len(names) <= _TOGETHER else _apart
    gold = [p for p in points if p["by"] == "gold"]
    last = {str(p["of"]): f"{p['of']} gold {float(p['y']):.2f} at {float(p['x']):.2f}" for p in gold}
    marks = [("measured", points), ("choosing by gold", ceiling), ("fitted curve", curves)]
    return render(
        chart(names, points, ceiling, curves),
        title,
        ", ".join(last.values()),
        rows=[{"mark": mark, "by": "gold", **row} for mark, some in marks for row in some],
        columns={
            "mark": "mark",
            "of": "proxy",
            "by": "scored by",
            "x": "square root of KL",
            "y": "score in standard deviations",
            "low": "low",
            "high": "high",
        },
        note=note,
    )


def _together(names: Sequence[str], points: list[Datum], ceiling: Sequence[Datum], curves: list[Datum]) -> Any:
    """All in one panel, each with a colour of its own."""
    colours = {name: colour for name, colour in policy_colours(["", *names]).items() if name}
    domain, colour_range = [*colours], [*colours.values()]
    if ceiling:
        domain, colour_range = [*domain, CEILING], [*colour_range, PALETTE[0]]
    colour = alt.Color(
        "of:N",
        scale=alt.Scale(domain=domain, range=colour_range),
        legend=alt.Legend(title=None, symbolType="square", symbolOpacity=1),
    )
    x = alt.X("x:Q", title=_DISTANCE, scale=alt.Scale(nice=False, padding=8), axis=alt.Axis(tickCount=6))
    y = partial(alt.Y, title=_SCORE, scale=alt.Scale(zero=False, padding=8), axis=alt.Axis(tickCount=6))
    return alt.layer(*_layers(points, ceiling, curves, x, y, colour)).properties(width=WIDTH - 190, height=320)


def _apart(names: Sequence[str], points: list[Datum], ceiling: Sequence[Datum], curves: list[Datum]) -> Any:
    """A panel for each, with the same axes: in one, bands and intervals would cover each other."""
    lines = {_GOLD: PALETTE[1], _PROXY: PALETTE[3]} | ({_CHOSEN_BY_GOLD: PALETTE[0]} if ceiling else {})
    colour = alt.Color(
        "line:N",
        scale=alt.Scale(domain=[*lines], range=[*lines.values()]),
        legend=alt.Legend(title=None, orient="top", symbolType="square", symbolOpacity=1, labelLimit=240),
    )
    every = [*points, *ceiling, *curves]
    ends = [float(p[key]) for p in every for key in ("y", "low", "high") if p.get(key) is not None]
    across = alt.Scale(domain=[0, max(float(p["x"]) for p in every)], nice=False)
    x = alt.X("x:Q", title="√KL", scale=across, axis=alt.Axis(tickCount=4))
    y = partial(alt.Y, title=None, scale=alt.Scale(domain=[min(ends), max(ends)]), axis=alt.Axis(tickCount=5))
    grey = [{**p, "line": _CHOSEN_BY_GOLD} for p in ceiling]
    panels = []
    for name in names:
        own = [{**p, "line": _GOLD if p["by"] == "gold" else _PROXY} for p in points if p["of"] == name]
        fit = [{**p, "line": _GOLD} for p in curves if p["of"] == name]
        layers = _layers(own, grey, fit, x, y, colour)
        panels.append(alt.layer(*layers).properties(width=_PANEL, height=_PANEL - 20, title=alt.Title(name, color=INK)))
    return alt.concat(*panels, columns=_COLUMNS, bounds="flush", spacing={"row": 78, "column": 46})


def _layers(
    points: list[Datum],
    ceiling: Sequence[Datum],
    curves: list[Datum],
    x: alt.X,
    y: Callable[[str], alt.Y],
    colour: alt.Color,
) -> list[alt.Chart]:
    gold = [p for p in points if p["by"] == "gold"]
    proxy: list[Datum] = [{"run": "", **p, "at": at} for at, p in enumerate(points) if p["by"] == "proxy"]
    return [
        alt.Chart(data_of([c for c in curves if "low" in c])).mark_area(opacity=0.15).encode(
            x=x, y=y("low:Q"), y2="high:Q", color=colour
        ),
        alt.Chart(data_of(curves)).mark_line(strokeWidth=1.8).encode(x=x, y=y("y:Q"), color=colour),
        alt.Chart(data_of(ceiling)).mark_line(strokeWidth=1.4, strokeDash=[1, 3]).encode(
            x=x, y=y("y:Q"), color=colour
        ),
        alt.Chart(data_of(proxy)).mark_line(strokeWidth=1.4, strokeDash=DASHES["proxy"], opacity=0.8).encode(
            x=x, y=y("y:Q"), color=colour, detail="run:N", order="at:Q"
        ),
        alt.Chart(data_of([p for p in gold if "low" in p])).mark_rule(strokeWidth=1.2, opacity=0.7).encode(
            x=x, y=y("low:Q"), y2="high:Q", color=colour
        ),
        alt.Chart(data_of(gold)).mark_point(size=34, filled=True, opacity=0.9).encode(x=x, y=y("y:Q"), color=colour),
    ]  # fmt: skip

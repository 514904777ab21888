"""Over-optimisation, for a page: proxy and gold over the distance from the start policy, and where gold turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from accord.monitor.pictures import DASHES, policy_colours
from accord.monitor.svg import NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import ABSENT, fixed, number, percent, short, table

CEILING: Final = "gold itself"
_DISTANCE: Final = "√KL from the start policy (KL in nats per sequence)"
_OVER_PROMPTS: Final = "95 % intervals and bands: bootstrap over prompts and seeds"
_OVER_RUNS: Final = "95 % intervals and bands: bootstrap over the runs of a curve; of one run there are none"
_SCORE: Final = "score, in standard deviations"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table. gold, proxy: at the end, with the interval where there is one. turn: in words. fit: alpha and
    beta, or why there is none."""

    name: str
    seeds: str
    gold: str
    proxy: str
    turn: str
    fit: str
    explained: str


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
    best_of_n, training = table(results.get("best_of_n")), table(results.get("training"))
    parts = []
    if proxies := {str(key): table(one) for key, one in table(best_of_n.get("proxies")).items()}:
        svg = best_of_n_picture(name, best_of_n, number(summary.get("num_prompts")))
        greatest = max((n for n in map(number, best_of_n.get("n") or ()) if n is not None), default=1)
        note = (
            f"The best of n responses, n from 1 to {greatest:,.0f}, chosen by each proxy; the distance is log n - (n - "
            "1) / n, an upper bound on the KL. All n are of the same samples, so that nearly any curve explains nearly "
            "all (R² about 0): trust the intervals."
        )
        lines, end = [_line(name, one, _at_largest_n(one)) for name, one in proxies.items()], f"n = {greatest:,.0f}"
        parts.append(Part("Best of n", svg, lines, end, note, _OVER_PROMPTS, _differences(best_of_n)))
    if trainings := {str(key): table(one) for key, one in table(training).items()}:
        note = (
            "Each dot is a measurement during a training. The distance is that of the samples from the reference. "
            "Explained: R² about 0; where it is low, read the dots."
        )
        lines = [_line(name, one, _at_end(one)) for name, one in trainings.items()]
        parts.append(Part("Training", training_picture(name, trainings), lines, "the end", note, _OVER_RUNS))
    return parts


def what_it_found(results: Mapping[str, Any]) -> str:
    """In two sentences, of the proxy that promises most beyond what gold has: what both say of the best of n; and by
    which proxies gold turned. Empty where that was not measured."""
    best_of_n, gold = table(results.get("best_of_n")), short(results.get("gold"))
    ends = []
    for name, one in table(best_of_n.get("proxies")).items():
        last = [number((one.get(key) or [None])[-1]) for key in ("proxy", "gold", "gold_low", "gold_high")]
        if all(value is not None for value in last):
            ends.append((str(name), last))
    if not ends:
        return ""
    name, (proxy, own, low, high) = max(ends, key=lambda one: (one[1][0] or 0) - (one[1][1] or 0))
    n = number((best_of_n.get("n") or [None])[-1])
    return (
        f"The best of {n or 0:,.0f} by {short(name)} is {fixed(proxy)} standard deviations above the start by its own "
        f"account, and {fixed(own)} ({fixed(low)} to {fixed(high)}) by {gold}."
    ) + _turned(gold, {str(name): table(one) for name, one in table(best_of_n.get("proxies")).items()})


def _turned(gold: str, proxies: Mapping[str, Mapping[str, Any]]) -> str:
    fits = {name: table(one.get("fit")) for name, one in proxies.items() if one.get("fit")}
    seen = [short(name) for name, fit in fits.items() if fit.get("inside")]
    if seen:
        return f" By {', '.join(seen)} {gold} turns before that."
    return f" By no proxy was {gold} seen to turn." if fits else ""


def best_of_n_picture(name: str, found: Mapping[str, Any], num_prompts: float | None = None) -> Picture:
    """Dots and bars: the unbiased estimates of gold with their intervals. Lines: the fitted curve in its band, and the
    proxy, dashed. Grey: what choosing by gold itself would give."""
    proxies = {str(key): table(one) for key, one in table(found.get("proxies")).items()}
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
    note = f"{'n not recorded' if num_prompts is None else f'n: {num_prompts:,.0f} prompts'}; {_OVER_PROMPTS}"
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
    note = f"n: {num:,} training{'' if num == 1 else 's'}; {_OVER_RUNS}"
    return _picture(f"{name}: training", trainings, points, [], list(_curves(trainings)), note)


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
    colours = {short(name): colour for name, colour in policy_colours(["", *families]).items() if name}
    domain, colour_range = [*colours], [*colours.values()]
    if ceiling:
        domain, colour_range = [*domain, CEILING], [*colour_range, PALETTE[0]]
    colour = alt.Color(
        "of:N",
        scale=alt.Scale(domain=domain, range=colour_range),
        legend=alt.Legend(title=None, symbolType="square", symbolOpacity=1),
    )
    x = alt.X("x:Q", title=_DISTANCE, scale=alt.Scale(nice=False, padding=8), axis=alt.Axis(tickCount=6))
    y = alt.Y("y:Q", title=_SCORE, scale=alt.Scale(zero=False, padding=8), axis=alt.Axis(tickCount=6))
    gold = [p for p in points if p["by"] == "gold"]
    proxy: list[Datum] = [{"run": "", **p, "at": at} for at, p in enumerate(points) if p["by"] == "proxy"]
    layers = [
        alt.Chart(data_of([c for c in curves if "low" in c])).mark_area(opacity=0.15).encode(
            x=x, y="low:Q", y2="high:Q", color=colour
        ),
        alt.Chart(data_of(curves)).mark_line(strokeWidth=1.8).encode(x=x, y=y, color=colour),
        alt.Chart(data_of(ceiling)).mark_line(strokeWidth=1.4, strokeDash=[1, 3]).encode(
            x=x, y=y, color=colour
        ),
        alt.Chart(data_of(proxy)).mark_line(strokeWidth=1.4, strokeDash=DASHES["proxy"], opacity=0.8).encode(
            x=x, y=y, color=colour, detail="run:N", order="at:Q"
        ),
        alt.Chart(data_of([p for p in gold if "low" in p])).mark_rule(strokeWidth=1.2, opacity=0.7).encode(
            x=x, y="low:Q", y2="high:Q", color=colour
        ),
        alt.Chart(data_of(gold)).mark_point(size=34, filled=True, opacity=0.9).encode(x=x, y=y, color=colour),
    ]  # fmt: skip
    chart = alt.layer(*layers).properties(width=WIDTH - 190, height=320)
    last = {str(p["of"]): f"{p['of']} gold {float(p['y']):.2f} at {float(p['x']):.2f}" for p in gold}
    marks = [("measured", points), ("choosing by gold", ceiling), ("fitted curve", curves)]
    return render(
        chart,
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


def _at_largest_n(one: Mapping[str, Any]) -> tuple[str, str]:
    """Gold and proxy, in words."""
    gold, proxy = (
        [number((one.get(f"{by}{end}") or [None])[-1]) for end in ("", "_low", "_high")] for by in ("gold", "proxy")
    )
    return ABSENT if None in gold else f"{fixed(gold[0])} ({fixed(gold[1])} to {fixed(gold[2])})", fixed(proxy[0])


def _at_end(one: Mapping[str, Any]) -> tuple[str, str]:
    """Gold and proxy of the last measurement, each the mean of the runs, in words."""
    ends = [measured[-1] for measured in table(one.get("points")).values() if measured]
    if not ends:
        return ABSENT, ABSENT
    proxy, gold = (sum(end[at] for end in ends) / len(ends) for at in (1, 2))
    return fixed(gold), fixed(proxy)


def _line(name: str, one: Mapping[str, Any], ends: tuple[str, str]) -> Line:
    num, fit = len(one.get("names") or ()), table(one.get("fit"))
    seeds = str(num) if num else ABSENT
    if not fit:
        why = str(one.get("no_fit") or "")
        return Line(name, seeds, *ends, ABSENT, f"no curve: {why}" if why else ABSENT, ABSENT)
    coefficients = f"{fixed(fit.get('alpha'))}, {fixed(fit.get('beta'))}"
    return Line(name, seeds, *ends, turn_in_words(one), coefficients, f"{percent(fit.get('r_squared'))} %")


def _differences(best_of_n: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for one in map(table, best_of_n.get("differences") or ()):
        gold, low, high = (number(one.get(key)) for key in ("gold", "gold_low", "gold_high"))
        if gold is not None and low is not None and high is not None:
            shown = "" if low > 0 or high < 0 else ", not shown"
            title = f"{one.get('first')} less {one.get('second')}, n = {one.get('n')}"
            found.append((title, f"{gold:+.2f} ({low:+.2f} to {high:+.2f}){shown}"))
    return found


def turn_in_words(one: Mapping[str, Any]) -> str:
    """Where the gold score of a curve is highest: only as far as was measured, as a curve beyond that is no finding."""
    fit, distances = table(one.get("fit")), table(one.get("curve")).get("distance")
    peak, farthest = number(fit.get("peak")), number((distances or [None])[-1])
    if peak is None:
        rises = (number(fit.get("alpha")) or 0) > 0
        return "none: gold rises all the way" if rises else "none: gold falls from the start"
    if farthest is not None and peak > farthest:
        return f"not reached: beyond {fixed(farthest)}"
    if "share_inside" not in fit:
        return f"{fixed(peak)}, of one run: no interval"
    low, high = number(fit.get("peak_low")), number(fit.get("peak_high"))
    ends = "" if low is None else f" ({fixed(low)} to {fixed(high) if high is not None else 'beyond'})"
    return f"{fixed(peak)}{ends}{'' if fit.get('inside') else ', not shown'}"

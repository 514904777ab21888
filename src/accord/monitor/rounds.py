"""All evaluations of a run, and the way of its policies over the rounds: one measure against another, as Llama 2's
figure 11 has helpfulness against harmlessness.

An `evaluate` step measures by its win rate, a `redteam` step by the share of attacks that a policy withstands. A step
of a repeated block is one measure over all rounds. The first measure of the recipe is drawn against each other one
that has policies with it in common; where there is one alone, it is drawn over the rounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import altair as alt

from accord.monitor.svg import INK, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import fixed, number, percent, short, table

FEWEST: Final = 2  # policies in a picture
MOST_PICTURES: Final = 3
_SQUARE: Final = 360  # pixels of the picture's height

Ends = tuple[float, float, float]  # a number, and the ends of its interval


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An `evaluate` or `redteam` step that is done. round: in a repeated block. policies: what the step calls each ->
    the key of the step that made it. judge: the key of the reward that judged. results: its results.json."""

    name: str
    kind: str
    results: Mapping[str, Any]
    round: int | None = None
    policies: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""

    @property
    def base(self) -> str:
        """The step's name in the recipe."""
        return base_name(self.name, self.round)


@dataclass(frozen=True, slots=True)
class Maker:
    """A step that made a policy, or the model: `of` is its name in the recipe."""

    name: str
    of: str
    round: int | None


@dataclass(frozen=True, slots=True)
class Axis:
    """One measure. points: of each policy, by its key. percent: it is a share. size: of how many, and what the
    intervals are."""

    name: str
    title: str
    points: Mapping[str, Ends]
    percent: bool
    neutral: float | None = None  # where a policy is as good as the baseline
    size: str = ""


def base_name(name: str, number: int | None) -> str:
    """A step's name without that of its round.

    >>> base_name("ppo-3", 3), base_name("ppo-3", None)
    ('ppo', 'ppo-3')
    """
    return name if number is None else name.removesuffix(f"-{number}")


def axes_of(steps: Sequence[Evaluated]) -> tuple[list[Axis], list[str]]:
    """The measures in the order of the recipe, and of those that cannot be one over all rounds why."""
    groups: dict[str, list[Evaluated]] = {}
    for step in steps:
        groups.setdefault(step.base, []).append(step)
    found, why = [], []
    for base, group in groups.items():
        axis = _attacks(base, group) if group[0].kind == "redteam" else _evaluation(base, group)
        if axis is not None:
            found.append(axis)
        elif len(group) > 1:
            why.append(
                f"{short(base, 60)} is not drawn over the rounds: each of them has another baseline, or another judge. "
                "Name a baseline and a judge that stand above the block."
            )
    return found, why


def pictures_of(axes: Sequence[Axis], makers: Mapping[str, Maker]) -> list[tuple[str, Picture]]:
    """Heading and picture of each. makers: by key, in the order of the run."""
    found: list[tuple[str, Picture]] = []
    for other in axes[1:]:
        keys = [key for key in makers if key in axes[0].points and key in other.points]
        if len(keys) >= FEWEST and len(found) < MOST_PICTURES:
            found.append((f"{axes[0].name} against {other.name}", _two(axes[0], other, [makers[key] for key in keys],
                          [(axes[0].points[key], other.points[key]) for key in keys])))  # fmt: skip
    if not found and axes:
        keys = [key for key, maker in makers.items() if key in axes[0].points]
        if len({makers[key].round for key in keys} - {None}) >= FEWEST:
            points = [axes[0].points[key] for key in keys]
            found.append((f"{axes[0].name} over the rounds", _one(axes[0], [makers[key] for key in keys], points)))
    return found


def _attacks(base: str, group: Sequence[Evaluated]) -> Axis | None:
    points: dict[str, Ends] = {}
    for step in group:
        for name, row in table(step.results.get("policies")).items():
            rate = table(table(row).get("violation_rate"))
            value, low, high = (number(rate.get(end)) for end in ("value", "low", "high"))
            if value is not None and name in step.policies:
                ends = 1 - value, 1 - (value if high is None else high), 1 - (value if low is None else low)
                points.setdefault(step.policies[name], ends)
    size = _size(group, "num_attacks", "attacks", "Wilson's")
    return Axis(base, f"{short(base, 40)}: share of attacks withstood", points, True, size=size) if points else None


def _evaluation(base: str, group: Sequence[Evaluated]) -> Axis | None:
    """By win rate where all have one baseline and one judge, by score where they have one judge."""
    baselines = {step.policies.get(str(step.results.get("baseline"))) for step in group}
    by_reward = [step for step in group if step.judge]
    against = short(group[0].results.get("baseline") or "the baseline")
    if len({step.judge for step in group}) == 1 and by_reward:
        by = short(group[0].results.get("by") or "a reward")
        if len(baselines) == 1:
            title = f"{short(base, 40)}: win rate against {against}, by {by}"
            return _axis(base, title, group, "gold_win_rate", neutral=0.5)
        return _axis(base, f"{short(base, 40)}: mean score by {by}", group, "gold_score")
    asked = {str(one.get("judge")) for step in group for one in map(table, step.results.get("judges") or [])}
    if not by_reward and len(baselines) == 1 and len(asked) == 1:
        title = f"{short(base, 40)}: win rate against {against}, by {short(asked.pop())}"
        return _axis(base, title, group, "judge_win_rate", neutral=0.5)
    return None


def _axis(base: str, title: str, group: Sequence[Evaluated], key: str, neutral: float | None = None) -> Axis | None:
    """A policy that several rounds have measured counts as the first did."""
    points: dict[str, Ends] = {}
    for step in group:
        for name, row in table(step.results.get("policies")).items():
            value, low, high = (number(table(row).get(f"{key}{end}")) for end in ("", "_low", "_high"))
            if value is not None and name in step.policies:
                ends = value, value if low is None else low, value if high is None else high
                points.setdefault(step.policies[name], ends)
    size = _size(group, "num_prompts", "prompts", "bootstrap over prompts")
    return Axis(base, title, points, neutral is not None, neutral, size) if points else None


def _size(group: Sequence[Evaluated], key: str, of: str, kind: str) -> str:
    """As in "n 256 prompts; 95 % intervals: Wilson's"; of rounds that differ the smallest and the largest."""
    nums = sorted({num for step in group if (num := number(step.results.get(key))) is not None})
    told = " to ".join(f"{num:,.0f}" for num in dict.fromkeys([nums[0], nums[-1]])) if nums else "not recorded"
    return f"n {told} {of}; 95 % intervals: {kind}"


def _two(first: Axis, second: Axis, makers: Sequence[Maker], ends: Sequence[tuple[Ends, Ends]]) -> Picture:
    """The first upwards, the second to the right."""
    points: list[Datum] = [
        {
            **_point(maker, at),
            **dict(zip(("y", "y_low", "y_high"), up, strict=True)),
            **dict(zip(("x", "x_low", "x_high"), across, strict=True)),
        }
        for at, (maker, (up, across)) in enumerate(zip(makers, ends, strict=True))
    ]
    x = alt.X("x:Q", title=second.title, scale=_scale(points, "x"), axis=_ticks(second, points, "x"))
    y = alt.Y("y:Q", title=first.title, scale=_scale(points, "y"), axis=_ticks(first, points, "y"))
    told = ", ".join(f"{one['name']} {_said(first, one['y'])} and {_said(second, one['x'])}" for one in points)
    colour = _colour(points)
    base = alt.Chart(data_of(points))
    layers = [
        *_neutral(first, points, "y"),
        *_neutral(second, points, "x"),
        base.mark_line(strokeWidth=1, strokeDash=[3, 3], color=INK, opacity=0.5).encode(x=x, y=y, order="order:Q"),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(
            x=alt.X("x_low:Q", scale=_scale(points, "x")), x2="x_high:Q", y=y, color=colour
        ),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(
            x=x, y=alt.Y("y_low:Q", scale=_scale(points, "y")), y2="y_high:Q", color=colour
        ),
        *_dots(base, x, y, colour),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH - 190, height=_SQUARE)
    columns = {"name": "policy", "label": "round", **_ends("y", first), **_ends("x", second)}
    return render(
        chart, f"{first.title}, against {second.title}", told, rows=points, columns=columns, note=_note(first, second)
    )


def _one(axis: Axis, makers: Sequence[Maker], ends: Sequence[Ends]) -> Picture:
    """Over the rounds; what stands in none of them is round 0."""
    points: list[Datum] = [
        {**_point(maker, at), "x": float(maker.round or 0), **dict(zip(("y", "y_low", "y_high"), up, strict=True))}
        for at, (maker, up) in enumerate(zip(makers, ends, strict=True))
    ]
    rounds = sorted({float(one["x"]) for one in points})
    ticks = alt.Axis(values=rounds, format="d", grid=False)
    x = alt.X("x:Q", title="round (0: before the first)" if 0 in rounds else "round", axis=ticks,
              scale=alt.Scale(domain=[rounds[0] - 0.25, rounds[-1] + 0.5], nice=False))  # fmt: skip
    y = alt.Y("y:Q", title=axis.title, scale=_scale(points, "y"), axis=_ticks(axis, points, "y"))
    colour, base = _colour(points), alt.Chart(data_of(points))
    layers = [
        *_neutral(axis, points, "y"),
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(x=x, y=y, color=colour, order="order:Q"),
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(
            x=x, y=alt.Y("y_low:Q", scale=_scale(points, "y")), y2="y_high:Q", color=colour
        ),
        next(iter(_dots(base, x, y, colour))),
    ]
    told = ", ".join(f"{one['name']} {_said(axis, one['y'])}" for one in points)
    chart = alt.layer(*layers).properties(width=WIDTH - 190, height=280)
    columns = {"name": "policy", "x": "round", **_ends("y", axis)}
    return render(chart, f"{axis.title}, over the rounds", told, rows=points, columns=columns, note=_note(axis))


def _ends(at: str, axis: Axis) -> dict[str, str]:
    """The columns of a measure in a picture's data."""
    return {f"{at}{end}": f"{axis.title}{end.replace('_', ', ')}" for end in ("", "_low", "_high")}


def _note(*axes: Axis) -> str:
    return "; ".join(f"{axis.name}: {axis.size}" for axis in axes)


def _point(maker: Maker, order: int) -> Datum:
    label = str(maker.round) if maker.round else short(maker.name, 20)
    return {"name": short(maker.name), "of": short(maker.of), "label": label, "order": order}


def _colour(points: Sequence[Datum]) -> alt.Color:
    names = list(dict.fromkeys(str(one["of"]) for one in points))
    scale = alt.Scale(domain=names, range=[PALETTE[at % len(PALETTE)] for at in range(len(names))])
    legend = alt.Legend(title="policy", symbolType="circle", symbolOpacity=1)
    return alt.Color("of:N", scale=scale, sort=names, legend=legend)


def _dots(base: alt.Chart, x: alt.X, y: alt.Y, colour: alt.Color) -> Iterable[alt.Chart]:
    yield base.mark_point(size=110, filled=True, opacity=1, stroke="white", strokeWidth=1).encode(
        x=x, y=y, color=colour
    )
    yield base.mark_text(align="left", dx=9, dy=-9, fontSize=11, color=INK).encode(x=x, y=y, text="label:N")


def _neutral(axis: Axis, points: Sequence[Datum], at: str) -> Iterable[alt.Chart]:
    if axis.neutral is not None:
        low, high = _domain(points, at)
        if low <= axis.neutral <= high:
            rule = alt.Chart(data_of([{at: axis.neutral}])).mark_rule(strokeDash=[4, 4], color=PALETTE[0], opacity=0.7)
            channel = alt.X if at == "x" else alt.Y
            yield rule.encode(**{at: channel(f"{at}:Q", scale=_scale(points, at))})


def _domain(points: Sequence[Datum], at: str) -> tuple[float, float]:
    low = min(float(one[f"{at}_low"]) for one in points)
    high = max(float(one[f"{at}_high"]) for one in points)
    room = 0.06 * (high - low) or 0.1 * (abs(high) or 1.0)
    return low - room, high + room


def _scale(points: Sequence[Datum], at: str) -> alt.Scale:
    low, high = _domain(points, at)
    return alt.Scale(domain=[low, high + (0.1 * (high - low) if at == "x" else 0.0)], nice=False)  # room for a label


def _ticks(axis: Axis, points: Sequence[Datum], at: str) -> alt.Axis:
    if not axis.percent:
        return alt.Axis(tickCount=6)
    low, high = _domain(points, at)
    return alt.Axis(format=".1%" if high - low < 0.1 else ".0%", tickCount=6)


def _said(axis: Axis, value: object) -> str:
    return f"{percent(value)} %" if axis.percent else fixed(value)

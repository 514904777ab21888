"""What rejection sampling gains from more samples: the largest and the median reward over N, as Llama 2's figure 7 has
them, of every round and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import altair as alt

from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import fixed, number, short, table

_DASHES: Final = {"largest": [1, 0], "median": [4, 3]}
_COLUMNS: Final = 2


@dataclass(frozen=True, slots=True)
class Selected:
    """A `reject` step. curve: `by_num_samples` of its selection.json. reward: the name of the one that chose.
    num_prompts: that it was asked to use."""

    name: str
    reward: str
    temperature: float | None
    curve: Sequence[Any] = field(default_factory=list)
    num_prompts: int | None = None


def selection_picture(steps: Sequence[Selected]) -> Picture:
    """A panel for each reward, as scores of two have no scale in common; a colour for each step. "" without a curve.

    Of a prompt all of whose responses may be chosen the largest of N is what is expected, without bias.
    """
    panels: dict[str, list[Datum]] = {}
    for step in steps:
        for row in map(table, step.curve):
            num = number(row.get("num_samples"))
            for name, key in (("largest", "max"), ("median", "median")):
                value = number(row.get(key))
                if num is not None and value is not None:
                    point: Datum = {"step": _label(step), "of": name, "x": num, "y": value}
                    panels.setdefault(step.reward, []).append(point)
    panels = {reward: points for reward, points in panels.items() if len({point["x"] for point in points}) > 1}
    if not panels:
        return NOTHING
    labels = list(dict.fromkeys(str(point["step"]) for points in panels.values() for point in points))
    columns = min(_COLUMNS, len(panels))
    width = (WIDTH - 190 - 60 * (columns - 1)) // columns - 10
    charts = [_panel(reward, points, labels, width) for reward, points in panels.items()]
    told = ", ".join(
        f"{points[-1]['step']} {fixed(_last(points, 'largest'))} of {_most(points):.0f}" for points in panels.values()
    )
    chart = alt.concat(*charts, columns=columns, spacing={"row": 30, "column": 40})
    prompts = [f"{short(step.name, 40)} {step.num_prompts:,}" for step in steps if step.num_prompts]
    return render(
        chart,
        "Largest and median reward over the number of samples",
        told,
        rows=[{"reward": reward, **point} for reward, points in panels.items() for point in points],
        columns={"reward": "reward by", "step": "step", "of": "of N", "x": "samples of a prompt", "y": "mean reward"},
        note=f"n, prompts: {', '.join(prompts) or 'not recorded'}; no intervals",
    )


def _label(step: Selected) -> str:
    warmth = "" if step.temperature is None else f", T {step.temperature:g}"
    return f"{short(step.name, 18)}{warmth}"


def _last(points: Sequence[Datum], of: str) -> object:
    return next((point["y"] for point in reversed(points) if point["of"] == of), None)


def _most(points: Sequence[Datum]) -> float:
    return max(float(point["x"]) for point in points)


def _panel(reward: str, points: list[Datum], labels: Sequence[str], width: int) -> Any:
    numbers = sorted({float(point["x"]) for point in points})
    scale = alt.Scale(domain=list(labels), range=[PALETTE[(at + 1) % len(PALETTE)] for at in range(len(labels))])
    dash = alt.Scale(domain=list(_DASHES), range=list(_DASHES.values()))
    x_scale = alt.Scale(type="log", base=2, domain=[numbers[0], numbers[-1]], nice=False)
    x_axis = alt.Axis(values=numbers, format="d", grid=False)
    y_scale = alt.Scale(zero=False, padding=8, nice=False)
    legend = alt.Legend(title="of N", symbolType="stroke", symbolStrokeColor=INK, symbolSize=300)
    base = alt.Chart(data_of(points)).encode(
        x=alt.X("x:Q", title="samples of a prompt, N", scale=x_scale, axis=x_axis),
        y=alt.Y("y:Q", title=f"reward by {short(reward)}", scale=y_scale, axis=alt.Axis(tickCount=5)),
        color=alt.Color("step:N", scale=scale, sort=list(labels), legend=alt.Legend(title="step", symbolType="stroke")),
    )
    lines = base.mark_line(strokeWidth=1.8).encode(strokeDash=alt.StrokeDash("of:N", scale=dash, legend=legend))
    return alt.layer(lines, base.mark_point(size=20, filled=True, opacity=1)).properties(width=width, height=220)

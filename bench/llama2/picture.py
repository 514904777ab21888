"""What is done so far, as a picture: a panel for margins, one for the auxiliary loss, one for rounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import altair as alt

from accord.monitor.svg import PALETTE, data_of, render
from bench.llama2 import auxiliary_table
from bench.llama2.margin_table import LEVELS, Runs
from bench.llama2.results import seeds_of
from bench.llama2.rounds import NUM_ROUNDS

_WIDTH, _HEIGHT = 520, 220
_APART = 0.2  # of two marks of one name; names are 1 apart


def picture(path: Path) -> None:
    """Marks with their 95 % intervals; what they are of, the table says."""
    panels = [one for one in (_margins(), _auxiliary(), _rounds()) if one is not None]
    if not panels:
        raise SystemExit("nothing is done yet: python -m bench.llama2 run --seed 1")
    path.parent.mkdir(parents=True, exist_ok=True)
    chart = alt.vconcat(*panels).resolve_scale(color="independent")
    described = "95 % intervals: of snippets, of objectives and of prompts"
    path.write_text(render(chart, "Effects of Llama 2 on a small model", described), encoding="utf-8")


def _margins() -> alt.LayerChart | None:
    runs = Runs.read()
    if runs is None:
        return None
    rows = [
        {"level": level, "of": margin, "value": 100 * one.value, "low": 100 * one.low, "high": 100 * one.high}
        for margin in ("small", "large")
        for level, one in zip(LEVELS, runs.changes(margin, "snippets drawn"), strict=True)
        if one is not None
    ]
    title = "accuracy with a margin less that without, points"
    return _beside(rows, "level", list(LEVELS), title, "preference", zero=True)


def _auxiliary() -> alt.LayerChart | None:
    _, found = auxiliary_table.lines()
    rows = [
        {"level": line.name, "of": of, "value": 100 * one.value, "low": 100 * one.low, "high": 100 * one.high}
        for line in found
        for of, one in (("without", line.without), ("with the loss", line.with_loss))
    ]
    return _beside(rows, "level", [line.name for line in found], "percent", "auxiliary safety loss") if rows else None


def _rounds() -> alt.LayerChart | None:
    rows = []
    for run in seeds_of("rounds"):
        for at in range(1, NUM_ROUNDS + 1):
            row = run["evaluations"][f"compare_{run['seed']}-{at}"][f"best_{run['seed']}-{at}"]
            ends = {end: 100 * row[f"gold_win_rate{of}"] for end, of in _ENDS.items()}
            rows.append({"level": f"round {at}", "of": f"seed {run['seed']}", **ends})
    order = [f"round {at}" for at in range(1, NUM_ROUNDS + 1)]
    return _beside(rows, "level", order, "wins against the last round, percent", "rounds") if rows else None


_ENDS = {"value": "", "low": "_low", "high": "_high"}


def _beside(
    rows: list[dict[str, Any]], x: str, order: list[str], title: str, name: str, *, zero: bool = False
) -> alt.LayerChart:
    """Marks of one name stand beside each other, each a little further to the right."""
    kinds = list(dict.fromkeys(row["of"] for row in rows))
    for row in rows:
        row["at"] = order.index(row[x]) + _APART * (kinds.index(row["of"]) - (len(kinds) - 1) / 2)
    label = f"split({json.dumps(order)}[datum.value], ' ')"
    axis = alt.Axis(values=list(range(len(order))), labelLimit=140, labelExpr=label, grid=False)
    base = alt.Chart(data_of(rows)).encode(
        x=alt.X("at:Q", title=name, axis=axis, scale=alt.Scale(domain=[-0.5, len(order) - 0.5], nice=False)),
        color=alt.Color("of:N", sort=kinds, title=None, scale=alt.Scale(range=list(PALETTE))),
    )
    value = alt.Y("value:Q", title=title, scale=alt.Scale(zero=False))
    bars = base.mark_rule(opacity=0.6).encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    layers = [bars, base.mark_point(filled=True, size=70, opacity=1).encode(y=value)]
    if zero:
        layers.insert(0, alt.Chart(data_of([{"y": 0}])).mark_rule(strokeDash=[4, 4], opacity=0.5).encode(y="y:Q"))
    return alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT)

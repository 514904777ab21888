"""Each model on each set, beside what knowing nothing of quality reaches there."""

from __future__ import annotations

import numpy as np

from accord.algorithms.statistics import bootstrap_mean, ordered_right
from bench.llama2.common import Floats
from bench.llama2.cross import HOMES, dealt, sets
from bench.llama2.results import seeds_of
from bench.llama2.text import lines_of, told
from bench.reward_models import floors_of


def table() -> list[str]:
    """The seeds' answers are averaged pair by pair."""
    runs = {home: seeds_of(f"cross-{home}") for home in HOMES}
    if not all(runs.values()):
        return []
    of = sets()
    parts = dealt(of)
    floors = {name: floors_of(of[name], parts[name][1]) for name in HOMES}
    best = {name: max(floors[name], key=lambda floor, name=name: float(floors[name][floor].mean())) for name in HOMES}
    right = {home: {name: _right(runs[home], name) for name in HOMES} for home in HOMES}
    rows = [["trained on", *(f"tested on {name}, {len(of[name])} pairs" for name in HOMES), "above the floor at home"]]
    for home in HOMES:
        cells = [bootstrap_mean(right[home][name], groups=parts[name][0], seed=0) for name in HOMES]
        lead = bootstrap_mean(right[home][home] - floors[home][best[home]], groups=parts[home][0], seed=0)
        counted = "" if lead.value > 0 else "; not counted"
        seeds = ", ".join(str(one["seed"]) for one in runs[home])
        told_cells = [told(one, 100, sign=False) for one in cells]
        rows.append([f"{home}, seed {seeds}", *told_cells, told(lead, 100) + counted])
    for floor in floors[HOMES[0]]:
        means = [f"{100 * floors[name][floor].mean():.1f}{' (floor)' * (best[name] == floor)}" for name in HOMES]
        rows.append([floor, *means, ""])
    return ["**cross**: accuracy in percent, out of fold; intervals by prompt", "", *lines_of(rows)]


def _right(runs: list[dict[str, dict[str, list[float]]]], name: str) -> Floats:
    gaps = [np.array(one["gaps"][name]) for one in runs]
    found: Floats = np.mean([ordered_right(gap, np.ones_like(gap)) for gap in gaps], axis=0)
    return found

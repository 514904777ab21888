"""Accuracy by level of preference with each margin, and what margins change."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from accord.algorithms.calibration import gap_slope, log_losses
from accord.algorithms.replication import MIN_RUNS, t_interval
from accord.algorithms.statistics import Interval, clustered_pair_interval, ordered_right
from accord.data.derive import ROUNDING
from accord.data.sources import read_parts
from bench.llama2.common import Floats, Ints
from bench.llama2.margin import MARGINS, NUM_SNIPPETS, THRESHOLDS
from bench.llama2.results import seeds_of
from bench.llama2.text import lines_of, told

LEVELS = ("significantly", "better", "slightly", "negligibly", "all")


@dataclass(frozen=True, slots=True)
class Snippets:
    """All pairs of snippets with different means. level: 0 for the least clear preference, to 3."""

    chosen: Ints
    rejected: Ints
    level: Ints

    @classmethod
    def of(cls, means: Floats) -> Snippets:
        first, second = np.triu_indices(len(means), 1)
        gap = means[first] - means[second]
        kept = np.abs(gap) > ROUNDING
        first, second, gap = first[kept], second[kept], gap[kept]
        reached = np.abs(gap)[:, None] + ROUNDING >= np.array(THRESHOLDS)
        level = np.maximum(reached.sum(axis=1) - 1, 0)  # what is below the first threshold is as little clear
        return cls(np.where(gap > 0, first, second), np.where(gap > 0, second, first), level)

    def gap(self, scores: Floats) -> Floats:
        found: Floats = scores[self.chosen] - scores[self.rejected]
        return found

    def right(self, scores: Floats) -> Floats:
        """[seeds, pairs], from scores, [seeds, snippets]."""
        return np.array([ordered_right(self.gap(one), np.ones(len(self.level))) for one in scores])

    def inside(self, name: str) -> np.ndarray:
        """Of the pairs, those of a level by its name."""
        return np.ones(len(self.level), dtype=bool) if name == "all" else self.level == 3 - LEVELS.index(name)


def bimodality(scores: Floats) -> float:
    """Sarle's coefficient, (skewness^2 + 1) / kurtosis: 1/3 of a normal distribution, 5/9 of a uniform one, 1 of two
    points."""
    normal = (scores - scores.mean()) / scores.std()
    return float(((normal**3).mean() ** 2 + 1) / (normal**4).mean())


@dataclass(frozen=True, slots=True)
class Runs:
    """Of the seeds for which all three are done. scores: by margin, [seeds, snippets]. right: [seeds, pairs]."""

    seeds: list[int]
    pairs: Snippets
    scores: dict[str, Floats]
    right: dict[str, Floats]

    @classmethod
    def read(cls) -> Runs | None:
        found = {margin: {one["seed"]: one for one in seeds_of(f"margin-{margin}")} for margin in MARGINS}
        seeds = sorted(set.intersection(*(set(one) for one in found.values())))
        if not seeds:
            return None
        items = read_parts("builtin:film-reviews")["pair_test"].records[:NUM_SNIPPETS]
        pairs = Snippets.of(np.array([item.mean for item in items]))
        scores = {margin: np.array([found[margin][seed]["scores"] for seed in seeds]) for margin in MARGINS}
        ones = np.ones(len(pairs.level))
        right = {
            margin: np.array([ordered_right(pairs.gap(one), ones) for one in scores[margin]]) for margin in MARGINS
        }
        return cls(seeds, pairs, scores, right)

    def changes(self, margin: str, kind: str) -> list[Interval | None]:
        """By level, in place of no margin. kind: of the interval."""
        change = self.right[margin] - self.right["none"]
        return [INTERVALS[kind](change, self.pairs, level) for level in LEVELS]


def table() -> list[str]:
    runs = Runs.read()
    if runs is None:
        return []
    pairs, right = runs.pairs, runs.right
    rows = [["margin", *LEVELS, "bimodality", "spread", "log loss", "slope of gaps"]]
    for margin in MARGINS:
        means = [f"{100 * right[margin][:, pairs.inside(level)].mean():.1f}" for level in LEVELS]
        per_seed = [
            (bimodality(one), one.std(), log_losses(pairs.gap(one)).mean(), gap_slope(pairs.gap(one)))
            for one in runs.scores[margin]
        ]
        rows.append([margin, *means, *(f"{value:.2f}" for value in np.mean(per_seed, axis=0))])
    rows.append(["pairs", *(f"{pairs.inside(level).sum():,}" for level in LEVELS), "", "", "", ""])
    changes = [["in place of none", *LEVELS]]
    for margin, kind in product(MARGINS[1:], INTERVALS):
        cells = [told(one, 100) if one else "" for one in runs.changes(margin, kind)]
        changes.append([f"{margin}, {kind}", *cells])
    title = f"**margin**: accuracy in percent, {NUM_SNIPPETS} snippets, seeds {', '.join(map(str, runs.seeds))}"
    by_seed = [f"{m} {', '.join(f'{100 * one.mean():.1f}' for one in right[m])}" for m in MARGINS]
    return [title, "", *lines_of(rows), "", f"all, by seed: {'; '.join(by_seed)}", "", *lines_of(changes)]


def _by_snippet(change: Floats, pairs: Snippets, level: str) -> Interval | None:
    """Of the average of these seeds, snippets drawn."""
    own = pairs.inside(level)
    mean = change[:, own].mean(axis=0)
    return clustered_pair_interval(mean, pairs.chosen[own], pairs.rejected[own], seed=0, num_resamples=1000)


def _by_seed(change: Floats, pairs: Snippets, level: str) -> Interval | None:
    """Of these snippets, over seeds."""
    means = change[:, pairs.inside(level)].mean(axis=1)
    return t_interval(means.tolist()) if len(means) >= MIN_RUNS else None


INTERVALS = {"snippets drawn": _by_snippet, "t over seeds": _by_seed}

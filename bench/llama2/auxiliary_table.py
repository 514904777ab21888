"""How well unsafe answers are found with and without the auxiliary loss, and who wins by safety labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from accord.algorithms.calibration import average_precision
from accord.algorithms.statistics import Interval, group_counts, ordered_right, percentile_interval
from accord.evaluate.reward_table import BINS
from bench.llama2.auxiliary import COEFS, UNSAFE, Answers, answers
from bench.llama2.common import Floats, Ints
from bench.llama2.results import seeds_of
from bench.llama2.text import lines_of, told

Statistic = Callable[[Floats, Floats], float]  # of the scores of all answers and of how often each is counted


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two answers to one objective of different harm. bin: by whether the better and the worse one are safe."""

    chosen: Ints
    rejected: Ints
    bin: list[str]


def pairs_of(data: Answers) -> Pairs:
    rows = []
    for group in np.unique(data.group):
        for a, b in combinations(np.flatnonzero(data.group == group), 2):
            if data.harm[a] != data.harm[b]:
                rows.append((a, b) if data.harm[a] < data.harm[b] else (b, a))
    chosen, rejected = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    bins = [BINS[(data.harm[a] < UNSAFE, data.harm[b] < UNSAFE)] for a, b in zip(chosen, rejected, strict=True)]
    return Pairs(chosen, rejected, bins)


def statistics(data: Answers, pairs: Pairs) -> dict[str, Statistic]:
    unsafe = np.array(data.harm) >= UNSAFE

    def recall(scores: Floats, weight: Floats) -> float:
        return _share((scores < 0)[unsafe], weight[unsafe])

    def precision(scores: Floats, weight: Floats) -> float:
        return _share(unsafe[scores < 0], weight[scores < 0])

    def found(scores: Floats, weight: Floats) -> float:
        return average_precision(-scores, unsafe, weight)

    def accuracy(name: str | None) -> Statistic:
        own = np.array([name in (None, one) for one in pairs.bin])
        chosen, rejected = pairs.chosen[own], pairs.rejected[own]

        def of(scores: Floats, weight: Floats) -> float:
            return _share(ordered_right(scores[chosen] - scores[rejected], np.ones(len(chosen))), weight[chosen])

        return of

    named = {name: accuracy(name) for name in BINS.values()}
    at_half = {"unsafe recall at 0.5": recall, "precision at 0.5": precision, "average precision": found}
    return {**at_half, "accuracy": accuracy(None), **named}


def _share(of: Floats, weight: Floats) -> float:
    return float(of @ weight / weight.sum()) if weight.sum() else float("nan")


def with_interval(of: Callable[[Floats], float], group: Ints, num_resamples: int = 1000) -> Interval:
    """of: the value where each answer counts so often; whole objectives are drawn."""
    draws = [of(weight) for weight in group_counts(group, seed=0, num_resamples=num_resamples)]
    return percentile_interval(of(np.ones(len(group))), [draw for draw in draws if not np.isnan(draw)])


@dataclass(frozen=True, slots=True)
class Line:
    """A statistic without and with the loss, in which the seeds' values are averaged; and the change of each seed."""

    name: str
    without: Interval
    with_loss: Interval
    change: Interval
    by_seed: list[float]


def lines() -> tuple[list[int], list[Line]]:
    """Of the seeds for which both are done."""
    runs = {coef: {one["seed"]: np.array(one["scores"]) for one in seeds_of(f"auxiliary-{coef}")} for coef in COEFS}
    seeds = sorted(set.intersection(*(set(one) for one in runs.values())))
    if not seeds:
        return [], []
    data = answers()
    return seeds, [
        _line(name, of, [(runs["0"][seed], runs["1"][seed]) for seed in seeds], data.group)
        for name, of in statistics(data, pairs_of(data)).items()
    ]


def _line(name: str, of: Statistic, scores: list[tuple[Floats, Floats]], group: Ints) -> Line:
    def mean(which: int, weight: Floats) -> float:
        return float(np.mean([of(of_seed[which], weight) for of_seed in scores]))

    every = np.ones(len(group))
    return Line(
        name,
        with_interval(lambda weight: mean(0, weight), group),
        with_interval(lambda weight: mean(1, weight), group),
        with_interval(lambda weight: mean(1, weight) - mean(0, weight), group),
        [of(after, every) - of(before, every) for before, after in scores],
    )


def table() -> list[str]:
    seeds, found = lines()
    if not seeds:
        return []
    rows = [["", "without", "with", "difference", "by seed"]]
    for one in found:
        both = [told(each, 100, sign=False) for each in (one.without, one.with_loss)]
        rows.append([one.name, *both, told(one.change, 100), ", ".join(f"{100 * each:+.1f}" for each in one.by_seed)])
    data = answers()
    unsafe, pairs = int((np.array(data.harm) >= UNSAFE).sum()), pairs_of(data)
    bins = ", ".join(f"{pairs.bin.count(name)} {name}" for name in BINS.values())
    title = (
        f"**auxiliary**: percent, {len(data.text)} answers to {len(np.unique(data.group))} objectives, {unsafe} of "
        f"them unsafe; pairs: {bins}; seeds {', '.join(map(str, seeds))}; intervals by objective"
    )
    return [title, "", *lines_of(rows)]

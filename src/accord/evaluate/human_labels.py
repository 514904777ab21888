"""How far somebody agrees with people's labels: in classes, of which the first is the ordinary one, and in numbers.

Intervals are 95 % bootstraps in which all labels on a prompt are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accord.algorithms.agreement import cohen_kappa, krippendorff_alpha
from accord.algorithms.statistics import Interval, bootstrap_mean, group_counts, pearson, percentile_interval
from accord.algorithms.win_rates import mean_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Error:
    """A detector beside people. num_unknown: where it could not say, which counts as an error, except in kappa and
    alpha. accuracy: of all classes; floor: that of always saying what people say most. sensitivity: of what people do
    not put into the first class, the share that it does not; specificity: of the first class, the share that it does.
    kappa, alpha: Cohen's and Krippendorff's; None where nothing can be said. confusion: [said by people, found]."""

    num: int
    num_unknown: int
    accuracy: Interval
    floor: float
    sensitivity: Interval | None
    specificity: Interval | None
    kappa: Interval | None
    alpha: Interval | None
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class GradeError:
    """Numbers beside people's, from 0 to 1. absolute_error: its mean; floor: that of always saying people's median.
    correlation: Pearson's; alpha: Krippendorff's for an interval scale; None where nothing can be said. num_unknown:
    left out of all."""

    num: int
    num_unknown: int
    absolute_error: Interval
    floor: float
    correlation: Interval | None
    alpha: Interval | None


def class_error(
    found: Sequence[int | None], said: Sequence[int], prompts: Sequence[str], *, num_classes: int, seed: int
) -> Error:
    """found: a class for each label, from 0 on; None where nobody could say. said: people's."""
    labels, groups = np.array(list(said)), grouped(prompts)
    own = np.array([-1 if one is None else one for one in found])
    classes = range(num_classes)
    ratings = np.stack([labels, np.where(own >= 0, own, np.nan)], axis=1).astype(np.float64)
    return Error(
        num=len(labels),
        num_unknown=int((own < 0).sum()),
        accuracy=mean_interval(labels == own, groups=groups, seed=seed),
        floor=float(np.bincount(labels).max() / len(labels)),
        sensitivity=_share(own > 0, labels > 0, groups, seed),
        specificity=_share(own == 0, labels == 0, groups, seed),
        kappa=statistic_interval(ratings, cohen_kappa, groups, seed),
        alpha=statistic_interval(ratings, krippendorff_alpha, groups, seed),
        confusion=tuple(tuple(int(((labels == i) & (own == j)).sum()) for j in classes) for i in classes),
    )


def grade_error(
    found: Sequence[float | None], said: Sequence[float], prompts: Sequence[str], *, seed: int
) -> GradeError | None:
    """None where nothing was found."""
    known = np.array([one is not None for one in found])
    if not known.any():
        return None
    groups = grouped(prompts)[known]
    pairs = np.array([(people, own) for people, own in zip(said, found, strict=True) if own is not None])
    return GradeError(
        num=len(pairs),
        num_unknown=int((~known).sum()),
        absolute_error=bootstrap_mean(np.abs(pairs[:, 1] - pairs[:, 0]), groups=groups, seed=seed),
        floor=float(np.abs(pairs[:, 0] - np.median(pairs[:, 0])).mean()),
        correlation=statistic_interval(pairs, lambda rows: pearson(rows[:, 0], rows[:, 1]), groups, seed),
        alpha=statistic_interval(pairs, lambda rows: krippendorff_alpha(rows, "interval"), groups, seed),
    )


def statistic_interval(
    ratings: Floats, statistic: Callable[[Floats], float], groups: NDArray[np.generic], seed: int
) -> Interval | None:
    """A statistic of rows, with the interval of its bootstrap by group. None where it cannot be said of all rows, or
    of most draws."""
    value = statistic(ratings)
    draws = [statistic(np.repeat(ratings, weights.astype(int), axis=0)) for weights in group_counts(groups, seed=seed)]
    known = [draw for draw in draws if not np.isnan(draw)]
    if np.isnan(value) or 2 * len(known) < len(draws):
        return None
    return percentile_interval(value, known)


def grouped(prompts: Sequence[str]) -> NDArray[np.str_]:
    """Prompts that differ in case and space alone are one, in whatever file they stand."""
    return np.array([" ".join(prompt.split()).casefold() for prompt in prompts])


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_], groups: NDArray[np.str_], seed: int) -> Interval | None:
    return mean_interval(right[among], groups=groups[among], seed=seed) if among.any() else None

"""Whether probabilities mean what they say, and how to make them: ECE, reliability curve, Platt scaling. NumPy only.

A reward model that was trained on pairs gives sigmoid(gap) as the probability that the higher score is the better
response. Bai et al. 2022 (arXiv:2204.05862, section 3.4) and Llama 2 (arXiv:2307.09288, figure 29) look at this before
they trust scores one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accord.algorithms.statistics import Interval, wilson

Floats = NDArray[np.float64]

_MAX_STEPS = 100  # of Newton's method, which takes about ten
_NUM_DRAWS = 200  # of data sets
_RIDGE = 1e-12  # on the Hessian, which is singular where all scores are equal


@dataclass(frozen=True, slots=True)
class Bin:
    """The predictions from `low` to `high`: how many, their mean, and the share of them that came true.

    share: with its 95 % interval, as if the predictions of one group were one.
    """

    low: float
    high: float
    num: int
    predicted: float
    share: Interval


def sigmoid(x: ArrayLike) -> Floats:
    """1 / (1 + e^-x), without overflow."""
    values = np.asarray(x, dtype=np.float64)
    small = np.exp(-np.abs(values))
    found: Floats = np.where(values >= 0, 1.0, small) / (1 + small)
    return found


def confidence(gap_p: ArrayLike) -> tuple[Floats, Floats]:
    """What score gaps (chosen - rejected) claim, [p], and whether it is so, [p].

    The claim is sigmoid(|gap|), at least 0.5, that the higher score is the better response: right is 1 where the chosen
    one has it, 0 where not, 0.5 where the scores are equal. Either order of a pair says the same, so that a curve over
    these is the lower half of the one over both orders, mirrored, with every pair counted once.
    """
    gaps = np.asarray(gap_p, dtype=np.float64)
    return sigmoid(np.abs(gaps)), 0.5 + 0.5 * np.sign(gaps)


def log_losses(gap_p: ArrayLike) -> Floats:
    """-log sigmoid(gap) of each pair, in nats, [p]; log 2 for a model that knows nothing."""
    found: Floats = np.logaddexp(0.0, -np.asarray(gap_p, dtype=np.float64))
    return found


def reliability_curve(
    predicted_n: ArrayLike,
    outcome_n: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    num_bins: int = 10,
    low: float = 0.0,
    high: float = 1.0,
) -> list[Bin]:
    """Probabilities against what came true of them, in bins of equal width from `low` to `high`; empty bins left out.

    predicted_n: probabilities in [low, high]. outcome_n: 0 to 1. groups: labels; the outcomes of one group (pairs of
    one prompt) are not independent, so intervals (Wilson's) count the groups of a bin in place of its predictions.
    """
    predicted, outcome = np.asarray(predicted_n, dtype=np.float64), np.asarray(outcome_n, dtype=np.float64)
    labels = np.arange(len(predicted)) if groups is None else np.asarray(groups)
    assert predicted.shape == outcome.shape == labels.shape
    assert ((predicted >= low) & (predicted <= high)).all(), "probabilities lie within the bins"
    edges = np.linspace(low, high, num_bins + 1)
    bin_n = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, num_bins - 1)
    found = []
    for b in np.unique(bin_n):
        inside = bin_n == b
        share, num_groups = float(outcome[inside].mean()), len(np.unique(labels[inside]))
        interval = wilson(share * num_groups, num_groups)
        mean = float(predicted[inside].mean())
        found.append(Bin(float(edges[b]), float(edges[b + 1]), int(inside.sum()), mean, interval))
    return found


def ece(curve: Sequence[Bin]) -> float:
    """The expected calibration error (Naeini et al. 2015): the mean over predictions of |share - predicted| of their
    bin. It is above 0 for a perfect model, too, the more the fewer predictions a bin has."""
    total = sum(one.num for one in curve)
    return sum(one.num * abs(one.share.value - one.predicted) for one in curve) / total


@dataclass(frozen=True, slots=True)
class Platt:
    """P(positive) = sigmoid(slope * score + bias)."""

    slope: float
    bias: float

    def __call__(self, score_n: ArrayLike) -> Floats:
        return sigmoid(self.slope * np.asarray(score_n, dtype=np.float64) + self.bias)


def platt(score_n: ArrayLike, positive_n: ArrayLike) -> Platt:
    """Platt scaling (Platt 1999): the maximum-likelihood sigmoid from scores to probabilities.

    Labels are smoothed as in his equation 11, (N+ + 1) / (N+ + 2) and 1 / (N- + 2), so that scores which separate the
    labels give a finite slope. Newton's method with step halving (Lin, Lin and Weng 2007). Needs both labels.
    Score gaps are calibrated by giving each pair in both orders, (gap, True) and (-gap, False): the bias is then 0.
    """
    score, positive = np.asarray(score_n, dtype=np.float64), np.asarray(positive_n, dtype=bool)
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    assert num_positive, "both labels are needed"
    assert num_negative, "both labels are needed"
    target = np.where(positive, (num_positive + 1) / (num_positive + 2), 1 / (num_negative + 2))
    features = np.stack([score, np.ones_like(score)], axis=1)
    found = np.array([0.0, np.log((num_positive + 1) / (num_negative + 1))])

    def loss(weights: Floats) -> float:
        logit = features @ weights
        return float((np.logaddexp(0.0, logit) - target * logit).sum())

    for _ in range(_MAX_STEPS):
        probability = sigmoid(features @ found)
        gradient = features.T @ (probability - target)
        if np.abs(gradient).max() < 1e-10 * len(score):
            break
        hessian = (features * (probability * (1 - probability))[:, None]).T @ features
        hessian += _RIDGE * (1 + np.trace(hessian)) * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size, here, slope = 1.0, loss(found), float(gradient @ step)
        while loss(found - size * step) > here - 1e-4 * size * slope and size > 1e-10:
            size /= 2
        found = found - size * step
    return Platt(float(found[0]), float(found[1]))


def gap_slope(gap_p: ArrayLike, weight_p: ArrayLike | None = None) -> float:
    """The slope with which sigmoid(slope * gap) is calibrated, for score gaps, chosen less rejected: what `platt` finds
    of both orders, whose bias is 0. weight_p: how often each pair counts, as in a bootstrap."""
    gap = np.asarray(gap_p, dtype=np.float64)
    weight = np.ones_like(gap) if weight_p is None else np.asarray(weight_p, dtype=np.float64)
    num = float(weight.sum())
    target, slope = (num + 1) / (num + 2), 0.0

    def loss(at: float) -> float:
        return float((weight * (np.logaddexp(0.0, at * gap) - target * at * gap)).sum())

    for _ in range(_MAX_STEPS):
        probability = sigmoid(slope * gap)
        gradient = float((weight * gap * (probability - target)).sum())
        curvature = float((weight * gap**2 * probability * (1 - probability)).sum())
        if abs(gradient) < 1e-10 * num or curvature <= 0:
            break
        step, size, here = gradient / curvature, 1.0, loss(slope)
        while loss(slope - size * step) > here - 1e-4 * size * gradient * step and size > 1e-10:
            size /= 2
        slope -= size * step
    return slope


def ece_of_calibrated(predicted_n: ArrayLike, *, seed: int, num_bins: int = 10, low: float = 0.0) -> float:
    """The expected calibration error that 95 % of data sets would be below if these probabilities, from `low` to 1,
    were right: as much comes of chance alone. As if the predictions were independent."""
    predicted = np.asarray(predicted_n, dtype=np.float64)
    edges = np.linspace(low, 1.0, num_bins + 1)
    bin_n = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, num_bins - 1)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(_NUM_DRAWS):
        off = (rng.random(len(predicted)) < predicted) - predicted
        draws.append(np.abs(np.bincount(bin_n, weights=off)).sum() / len(predicted))
    return float(np.percentile(draws, 95))


def auc(score_n: ArrayLike, positive_n: ArrayLike) -> float:
    """The share of (positive, negative) pairs in which the positive one scores higher, equal scores one half (the area
    under the ROC curve; Mann and Whitney 1947). Needs both labels."""
    score, positive = np.asarray(score_n, dtype=np.float64), np.asarray(positive_n, dtype=bool)
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    assert num_positive, "both labels are needed"
    assert num_negative, "both labels are needed"
    _, level, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[level]  # from 1, equal scores their mean
    return float((rank[positive].sum() - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def precision_recall(found_n: ArrayLike, true_n: ArrayLike) -> tuple[float, float]:
    """Of what was found the share that is true, and of what is true the share that was found; NaN where there is
    nothing."""
    found, true = np.asarray(found_n, dtype=bool), np.asarray(true_n, dtype=bool)
    both, num_found, num_true = int((found & true).sum()), int(found.sum()), int(true.sum())
    return both / num_found if num_found else float("nan"), both / num_true if num_true else float("nan")


def average_precision(score_n: ArrayLike, true_n: ArrayLike, weight_n: ArrayLike | None = None) -> float:
    """The area under precision over recall, in steps: the sum over the different scores, from the highest down, of the
    recall that each adds times the precision down to it, equal scores together. NaN where nothing is true.

    Without knowledge it is the share of what is true. weight_n: how often each counts, as in a bootstrap.
    """
    true = np.asarray(true_n, dtype=np.float64)
    weight = np.ones_like(true) if weight_n is None else np.asarray(weight_n, dtype=np.float64)
    _, level = np.unique(-np.asarray(score_n, dtype=np.float64), return_inverse=True)
    hits, found = np.cumsum(np.bincount(level, weight * true)), np.cumsum(np.bincount(level, weight))
    if not len(hits) or hits[-1] == 0:
        return float("nan")
    precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
    return float(np.diff(hits, prepend=0.0) @ precision / hits[-1])

"""Win rates, accuracies, their intervals, and how far people agree with themselves. NumPy only.

Shapes: p = prompts in win_rate, pairs elsewhere; k, j = samples of a prompt. A NaN that goes in comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_AT_ONCE = 1_000_000  # draws; how many changes no result


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: ArrayLike,
    *,
    seed: int,
    groups: ArrayLike | None = None,
    num_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The mean of values, [n], with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    groups: [n] labels. Values of one group (the samples of a prompt, say) are not independent, so whole groups are
    drawn; by default every value is a group of its own.
    """
    flat = _floats(values)
    labels = np.arange(len(flat)) if groups is None else np.asarray(groups)
    assert labels.shape == flat.shape
    _, group = np.unique(labels, return_inverse=True)
    sums, sizes = np.bincount(group, weights=flat), np.bincount(group)

    rng, at_once = np.random.default_rng(seed), max(1, _AT_ONCE // len(sums))
    means: list[float] = []
    while len(means) < num_resamples:
        drawn = rng.integers(len(sums), size=(min(at_once, num_resamples - len(means)), len(sums)))
        means += (sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)).tolist()
    return percentile_interval(float(flat.mean()), means, level=level)


def group_counts(groups: ArrayLike, *, seed: int, num_resamples: int = 1000) -> Iterator[Floats]:
    """Bootstrap resamples of whole groups, as weights for what is fitted anew on each: how often every value is drawn.

    groups: [n] labels, as in `bootstrap_mean`. Gives [n], num_resamples times.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    for _ in range(num_resamples):
        drawn = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)
        yield drawn[group].astype(np.float64)


def percentile_interval(value: float, draws: ArrayLike, *, level: float = 0.95) -> Interval:
    """A value with the interval that holds `level` of its bootstrap draws, as many left out below as above."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.asarray(draws, dtype=np.float64), [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def wilson(num_successes: float, num_trials: int, *, z: float = 1.959964) -> Interval:
    """A share with its score interval (Wilson 1927), 95 % by default; it holds near 0 and 1, too. n = 0: (NaN, 0, 1).

    value p = k / n; ends (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    """
    assert 0 <= num_successes <= num_trials
    if num_trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    share, n = num_successes / num_trials, num_trials
    centre = share + z * z / (2 * n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    scale = 1 + z * z / n
    return Interval(share, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def clustered_pair_interval(
    correct_p: ArrayLike,
    items_a_p: ArrayLike,
    items_b_p: ArrayLike,
    *,
    seed: int,
    num_resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The mean of correct_p with an interval that knows that pairs share items.

    items_a_p, items_b_p: the labels of the two items of each pair. Each resample draws items with replacement; a pair
    counts as often as the product of its two items' counts, and the mean is normalised by these weights. A resample
    that leaves no pair has no mean and is drawn again.
    """
    correct = _floats(correct_p)
    labels = np.stack([np.asarray(items_a_p), np.asarray(items_b_p)])
    assert labels.shape == (2, len(correct))
    unique, flat_index = np.unique(labels, return_inverse=True)
    item_a, item_b = flat_index.reshape(2, -1)
    assert (item_a != item_b).all(), "a pair has two different items"

    def resample(rng: np.random.Generator) -> float:
        while True:
            count = np.bincount(rng.integers(len(unique), size=len(unique)), minlength=len(unique))
            weight = count[item_a] * count[item_b]
            if weight.any():
                return float(weight @ correct / weight.sum())

    return _percentile_interval(float(correct.mean()), resample, seed, num_resamples, level)


def win_rate(scores_a_pk: ArrayLike, scores_b_pj: ArrayLike) -> Floats:
    """How often a's samples score above b's, [p] in [0, 1]: over all k * j pairs of a prompt, a tie one half."""
    gap_pkj = np.asarray(scores_a_pk, dtype=np.float64)[:, :, None] - np.asarray(scores_b_pj)[:, None, :]
    rate_p: Floats = 0.5 + 0.5 * np.sign(gap_pkj).mean(axis=(1, 2))
    return rate_p


def ordered_right(score_gap_p: ArrayLike, label_gap_p: ArrayLike) -> Floats:
    """For each pair 1 where score and label put it in the same order, 0 where not, 0.5 where either ties. [p]."""
    right_p: Floats = 0.5 + 0.5 * np.sign(_floats(score_gap_p)) * np.sign(_floats(label_gap_p))
    return right_p


def pairwise_accuracy(score_gap_p: ArrayLike, label_gap_p: ArrayLike) -> float:
    """The share of pairs whose score gap has the sign of their label gap; a tie in score counts one half.

    Pairs whose label ties have no right answer and are left out. ValueError if none is left.
    """
    labelled = _floats(label_gap_p) != 0
    if not labelled.any():
        raise ValueError("every pair is a tie in its label")
    return float(ordered_right(score_gap_p, label_gap_p)[labelled].mean())


def single_rater_agreement(
    ratings: Sequence[Sequence[float]], pairs: Sequence[tuple[int, int]], *, threshold: float = 0.0
) -> float:
    """How often one random rater of each item orders a pair as the other raters do: what a person scores on the pairs.

    ratings: one list for each item, of at least two raters. pairs: indices of two items; those whose means (over all
    raters) differ by less than threshold are left out. For a pair (a, b), each rater i of a and j of b gives one vote:
    it agrees if the sign of r_ai - r_bj is that of mean(a without i) - mean(b without j); a tie in either counts one
    half. Exact: the share over all (i, j) of a pair, averaged over pairs. Leaving the raters out matters: judged
    against means that hold their own ratings they would look better than they are.
    """
    arrays = _rating_arrays(ratings)
    shares = []
    for a, b in pairs:
        of_a, of_b = arrays[a], arrays[b]
        if abs(of_a.mean() - of_b.mean()) < threshold:
            continue
        rest_a, rest_b = of_a.sum() - of_a, of_b.sum() - of_b
        # The means' difference times both counts: on whole-number ratings this is exact, and ties are ties.
        rest_gap = np.subtract.outer(rest_a * (len(of_b) - 1), rest_b * (len(of_a) - 1))
        shares.append(0.5 + 0.5 * (np.sign(np.subtract.outer(of_a, of_b)) * np.sign(rest_gap)).mean())
    if not shares:
        raise ValueError(f"no pair has means that differ by {threshold} or more")
    return float(np.mean(shares))


def split_half_reliability(ratings: Sequence[Sequence[float]], *, seed: int, num_splits: int = 50) -> float:
    """The reliability of the items' mean ratings: correlate two random halves of the raters, correct to full length.

    Each split halves every item's raters at random (an odd one out goes to the second half) and takes Pearson's r of
    the halves' means over items; the mean r over splits is corrected by Spearman-Brown, 2 r / (1 + r).
    ratings: one list for each item, of at least two raters.
    """
    arrays = _rating_arrays(ratings)
    lengths = np.array([len(array) for array in arrays])
    blocks = [np.stack([arrays[i] for i in np.flatnonzero(lengths == length)]) for length in np.unique(lengths)]
    rng = np.random.default_rng(seed)
    correlations = []
    for _ in range(num_splits):
        shuffled = [rng.permuted(block, axis=1) for block in blocks]
        first = np.concatenate([block[:, : block.shape[1] // 2].mean(axis=1) for block in shuffled])
        second = np.concatenate([block[:, block.shape[1] // 2 :].mean(axis=1) for block in shuffled])
        correlations.append(pearson(first, second))
    r = float(np.mean(correlations))
    return 2 * r / (1 + r)


def pearson(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's correlation of two equally long vectors; NaN where either does not vary."""
    x, y = _floats(a), _floats(b)
    assert x.shape == y.shape
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else float("nan")


def distinct_n(token_lists: Sequence[Sequence[Hashable]], n: int) -> float:
    """Distinct n-grams / all n-grams over the whole set (Li et al. 2016, arXiv:1510.03055); 0 where there is none.

    It falls with the size of the set, so compare sets of equal size only.
    """
    assert n >= 1
    grams = [tuple(tokens[i : i + n]) for tokens in token_lists for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _floats(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"expected a vector of at least one value, got shape {array.shape}")
    return array


def _rating_arrays(ratings: Sequence[Sequence[float]]) -> list[Floats]:
    arrays = [_floats(item) for item in ratings]
    if any(len(array) < 2 for array in arrays):
        raise ValueError("every item needs at least two raters")
    return arrays


def _percentile_interval(
    value: float, resample: Callable[[np.random.Generator], float], seed: int, num_resamples: int, level: float
) -> Interval:
    rng = np.random.default_rng(seed)
    return percentile_interval(value, [resample(rng) for _ in range(num_resamples)], level=level)

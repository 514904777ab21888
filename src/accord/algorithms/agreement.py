"""How far people agree: Krippendorff's alpha, Gwet's AC1 and AC2, Cohen's kappa, and who agrees with whom. NumPy only.

Everywhere `ratings` is [units, raters] of floats, each the number of a category or NaN where a rater did not rate the
unit. A coefficient is 1 for full agreement and 0 for what chance would give; it is NaN where nothing can be said, as
when no unit has two ratings, or alpha when all ratings are one category.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["identity", "linear", "quadratic"]


def krippendorff_alpha(ratings: Floats, level: Level = "nominal") -> float:
    """alpha = 1 - D_o / D_e, with missing ratings (Krippendorff 2011, "Computing Krippendorff's alpha-reliability").

    level: how far apart two categories are: 0 or 1; by the ratings that lie between them; by the square of their
    difference. At least .8 is reliable, at least .667 tentative.
    """
    values, counts = _counts(ratings)
    counts = counts[counts.sum(axis=1) >= 2]
    num = counts.sum(axis=1, keepdims=True)
    # Of every ordered pair of ratings of one unit, 1 / (m_u - 1): coincidences [K, K].
    coincidences = (counts / np.maximum(num - 1, 1)).T @ counts - np.diag((counts / np.maximum(num - 1, 1)).sum(axis=0))
    of_value = coincidences.sum(axis=1)
    total = of_value.sum()
    distances = _distances(values, of_value, level)
    expected = (np.outer(of_value, of_value) * distances).sum() / max(total - 1, 1)
    return float(1 - (coincidences * distances).sum() / expected) if expected > 0 else float("nan")


def _distances(values: Floats, of_value: Floats, level: Level) -> Floats:
    if level == "nominal":
        other: Floats = (values[:, None] != values).astype(np.float64)
        return other
    if level == "interval":
        squares: Floats = (values[:, None] - values) ** 2
        return squares
    cumulated = np.concatenate([[0.0], np.cumsum(of_value)])
    middle = (cumulated[:-1] + cumulated[1:]) / 2  # the mean rank of a rating of this value
    ranks: Floats = (middle[:, None] - middle) ** 2
    return ranks


def gwet_ac(ratings: Floats, weights: Weights = "identity", num_categories: int | None = None) -> float:
    """AC1 with identity weights, else AC2 (Gwet 2008, British Journal of Mathematical and Statistical Psychology 61;
    2014, Handbook of Inter-Rater Reliability, ch. 5). It stays fair where nearly all ratings are one category.

    num_categories: that could be given, 0 to num_categories - 1 (None: those that were).
    """
    values, counts = _counts(ratings)
    if num_categories is not None:
        whole = np.zeros((len(counts), num_categories))
        whole[:, values.astype(int)] = counts
        values, counts = np.arange(num_categories, dtype=np.float64), whole
    agree = _weights(values, weights)
    num = counts.sum(axis=1)
    rated, twice = num >= 1, num >= 2
    if not twice.any() or len(values) < 2:
        return float("nan") if not twice.any() else 1.0
    weighted = counts @ agree
    pairs = (counts * (weighted - 1)).sum(axis=1)[twice] / (num * (num - 1))[twice]
    shares = (counts[rated] / num[rated, None]).mean(axis=0)
    by_chance = agree.sum() / (len(values) * (len(values) - 1)) * (shares * (1 - shares)).sum()
    return float((pairs.mean() - by_chance) / (1 - by_chance))


def _weights(values: Floats, weights: Weights) -> Floats:
    """[K, K]: how far two categories agree, from 0 to 1."""
    if weights == "identity" or len(values) < 2:
        return np.eye(len(values))
    apart = np.abs(values[:, None] - values) / (values.max() - values.min())
    agree: Floats = 1 - apart if weights == "linear" else 1 - apart**2
    return agree


def cohen_kappa(ratings: Floats) -> float:
    """kappa = (p_a - p_e) / (1 - p_e) of two raters (Cohen 1960), over the units that both rated; each has shares of
    the categories of its own, p_e = sum_k p_1k p_2k. NaN when both gave one category alone, or nothing twice.

    It is low where nearly all ratings are one category, however well the raters agree: see `gwet_ac`.
    """
    assert ratings.ndim == 2
    assert ratings.shape[1] == 2, "kappa is of two raters"
    both = ratings[~np.isnan(ratings).any(axis=1)]
    if not len(both):
        return float("nan")
    agree = float((both[:, 0] == both[:, 1]).mean())
    values = np.unique(both)
    by_chance = float(((both[:, :1] == values).mean(axis=0) * (both[:, 1:] == values).mean(axis=0)).sum())
    return (agree - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan")


def agreement_between(ratings: Floats, first: Bools, second: Bools) -> tuple[int, int]:
    """Over all ratings of a unit by two raters, one of each group: how many agree, of how many. Of one group twice,
    every two of its raters; else raters who are in both groups are left out. first, second: [raters]."""
    if (first == second).all():
        pairs = np.triu(np.outer(first, first), k=1)
    else:
        pairs = np.outer(first & ~second, second & ~first)
    share, both = pairwise_agreement(ratings)
    return round(float((np.nan_to_num(share) * both)[pairs].sum())), int(both[pairs].sum())


def pairwise_agreement(ratings: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """[raters, raters]: the share of the units rated by both on which two raters agree (NaN: none); and how many."""
    there = ~np.isnan(ratings)
    both = there.T.astype(np.int64) @ there.astype(np.int64)
    same = np.zeros(both.shape)
    for value in np.unique(ratings[there]):
        chosen = (ratings == value).astype(np.float64)
        same += chosen.T @ chosen
    return np.where(both > 0, same / np.maximum(both, 1), np.nan), both


def _counts(ratings: Floats) -> tuple[Floats, Floats]:
    """The categories [K] that occur, and how often each unit was put into each, [units, K]."""
    values = np.unique(ratings[~np.isnan(ratings)])
    return values, (ratings[:, :, None] == values).sum(axis=1).astype(np.float64)

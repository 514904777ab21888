"""The reference line that a reward model has to beat, and a second evaluator of another kind: a bag of words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV

from accord.errors import UserError
from accord.types import RatedText

ALPHAS = (0.1, 0.3, 1.0, 3.0, 10.0)
# Differences of means such as 1.4 - 0.9 fall a rounding error short of the threshold that they are meant to reach.
ROUNDING = 1e-9


class TextRidge:
    """Ridge regression of mean ratings on TF-IDF of words and word pairs. Deterministic.

    Term frequencies are sublinear (1 + log), terms of a single text are left out, and the penalty is the one of ALPHAS
    with the least leave-one-out error (Golub, Heath and Wahba 1979).
    """

    def __init__(self) -> None:
        self._terms = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        self._ridge = RidgeCV(alphas=ALPHAS)

    def fit(self, texts: Sequence[str], means: Sequence[float] | npt.NDArray[np.float64]) -> TextRidge:
        """texts and their mean ratings, one each. Raises UserError when no word occurs in two texts."""
        try:
            features = self._terms.fit_transform(texts)
        except ValueError as error:
            raise UserError(
                f"a bag of words cannot be fitted: no word occurs in two of the {len(texts)} texts",
                remedy="Give it more rated texts.",
            ) from error
        self._ridge.fit(features, np.asarray(means, dtype=np.float64))
        return self

    def predict(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """The expected mean rating of each text, [num_texts]."""
        return np.asarray(self._ridge.predict(self._terms.transform(texts)), dtype=np.float64)

    @property
    def alpha(self) -> float:
        """The chosen penalty."""
        return float(self._ridge.alpha_)


def rated_pairs(
    items: Sequence[RatedText], *, min_difference: float = 0.5, num_pairs: int = 2000, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Random distinct pairs of items whose mean ratings differ by min_difference or more, as two arrays of indices.

    Uniform over all such pairs; which item of a pair comes first is random too. When there are fewer than num_pairs,
    all of them.
    """
    generator = np.random.default_rng(seed)
    means = np.array([item.mean for item in items], dtype=np.float64)
    order = np.argsort(means, kind="stable")
    ranked = means[order]
    # The partners of the item at rank i are the ranks first[i], first[i] + 1, ...: numbering them all through needs
    # no list of the N (N - 1) / 2 pairs.
    first = np.searchsorted(ranked, ranked + min_difference - ROUNDING)
    first = np.maximum(first, np.arange(len(items)) + 1)
    ends = np.cumsum(len(items) - first)
    total = int(ends[-1]) if len(items) else 0
    drawn = generator.choice(total, size=min(num_pairs, total), replace=False) if total else np.zeros(0, np.int64)
    low = np.searchsorted(ends, drawn, side="right")
    high = len(items) - (ends[low] - drawn)
    swap = generator.random(len(drawn)) < 0.5
    return order[np.where(swap, high, low)], order[np.where(swap, low, high)]

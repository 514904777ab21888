"""What is reached on preferences by knowing nothing of them: what a score has to beat, and by how much. NumPy only.

Zheng et al. 2024 (arXiv:2410.07137) won 86 % on a benchmark with one constant answer. A set on which the longer
response wins seven times in ten says nothing good of a judge who is right seven times in ten.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from accord.algorithms.statistics import Interval, ordered_right
from accord.algorithms.win_rates import mean_interval


def null_baselines(
    longer_p: ArrayLike, chosen_first_p: ArrayLike, *, groups: ArrayLike | None = None, seed: int
) -> dict[str, Interval | None]:
    """The accuracy on pairs of always taking the longest response, the shortest, the one that stands first, or neither.

    longer_p: by how much the chosen response is longer than the rejected one; equal lengths count one half.
    chosen_first_p: whether the chosen response stands before the rejected one in the data. Where it always does, or
    never, the order is the label itself, and `first` is None. `constant` gives every response one score: 0.5.
    """
    longer = np.asarray(longer_p, dtype=np.float64)
    chosen_first = np.asarray(chosen_first_p, dtype=bool)
    assert longer.shape == chosen_first.shape
    longest = ordered_right(longer, np.ones_like(longer))
    told = chosen_first.all() or not chosen_first.any()
    return {
        "longest": mean_interval(longest, groups=groups, seed=seed),
        "shortest": mean_interval(1 - longest, groups=groups, seed=seed),
        "first": None if told else mean_interval(chosen_first, groups=groups, seed=seed),
        "constant": Interval(0.5, 0.5, 0.5),
    }

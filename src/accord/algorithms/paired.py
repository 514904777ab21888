"""Several policies on the same items: each one's number, and how far it is from the first one's. NumPy and SciPy only.

What alignment costs is such a difference, where the first policy is what training began with. Policies that answer the
same items are alike on most of them, so the interval of the difference, drawn item by item, is much narrower than what
the policies' own intervals would suggest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from accord.algorithms.statistics import Floats, Interval, bootstrap_mean, percentile_interval
from accord.algorithms.win_rates import mcnemar, mean_interval

_NUM_RESAMPLES = 500  # of a number that is no mean, which is computed anew on each


@dataclass(frozen=True, slots=True)
class Difference:
    """interval: the policy's number less the first one's, on the items that both have. num: how many these are.
    p_value: McNemar's exact test, two-sided, where every value is 0 or 1 and no two items belong together; else None.
    """

    interval: Interval
    num: int
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """One policy. num: items that it has a value of. difference: None for the first policy, and where no item is in
    common."""

    interval: Interval
    num: int
    difference: Difference | None = None


def side_by_side(
    values: Mapping[str, ArrayLike], *, groups: Sequence[Hashable] | None = None, seed: int
) -> dict[str, Standing]:
    """The means of each policy's values, [n] in the same order of items, and their differences to the first one's.

    A NaN is an item without a value. groups: [n] labels of items that are drawn together (the turns of a conversation,
    the instructions of a prompt). Intervals are 95 % bootstraps by group, of shares as `mean_interval` has them. At
    least one value of each policy is a number.
    """
    arrays = {name: np.asarray(of_policy, dtype=np.float64) for name, of_policy in values.items()}
    first = next(iter(arrays.values()))
    label_n = _labels(groups, len(first))
    found = {}
    for name, own in arrays.items():
        assert own.shape == first.shape, "policies have the same items"
        known = ~np.isnan(own)
        both = known & ~np.isnan(first)
        difference = None
        if own is not first and both.any():
            interval = bootstrap_mean((own - first)[both], groups=label_n[both], seed=seed)
            alone = len(np.unique(label_n)) == len(label_n) and all(_is_right(one[both]) for one in (own, first))
            difference = Difference(
                interval, int(both.sum()), mcnemar(first[both], own[both]).p_value if alone else None
            )
        found[name] = Standing(_mean(own[known], label_n[known], seed), int(known.sum()), difference)
    return found


def side_by_side_of(
    items: Mapping[str, Sequence[Any]], aggregate: Callable[[Sequence[Any]], float], *, seed: int
) -> dict[str, Standing]:
    """The same for a number that is no mean, such as a perplexity of all texts together: aggregate(items) of each
    policy, whose items [n] may be anything. Every resample draws the same items for all policies."""
    first = next(iter(items))
    num = len(items[first])
    rng = np.random.default_rng(seed)
    drawn_rn = rng.integers(num, size=(_NUM_RESAMPLES, num))
    draws: dict[str, Floats] = {}
    found: dict[str, Standing] = {}
    for name, own in items.items():
        assert len(own) == num, "policies have the same items"
        value = float(aggregate(own))
        draws[name] = np.array([float(aggregate([own[i] for i in row])) for row in drawn_rn])
        difference = None
        if name != first:
            less = value - found[first].interval.value
            difference = Difference(_interval(less, draws[name] - draws[first]), num)
        found[name] = Standing(_interval(value, draws[name]), num, difference)
    return found


def _labels(groups: Sequence[Hashable] | None, num: int) -> np.ndarray:
    if groups is None:
        return np.arange(num)
    number = {label: i for i, label in enumerate(dict.fromkeys(groups))}
    assert len(groups) == num
    return np.array([number[label] for label in groups])


def _is_right(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _mean(values: Floats, groups: np.ndarray, seed: int) -> Interval:
    if ((values >= 0) & (values <= 1)).all():
        return mean_interval(values, groups=groups, seed=seed)
    return bootstrap_mean(values, groups=groups, seed=seed)


def _interval(value: float, draws: Floats) -> Interval:
    """Draws on which the number is none (a correlation where nothing varies, say) are left out."""
    known = draws[np.isfinite(draws)]
    return percentile_interval(value, known) if len(known) else Interval(value, float("nan"), float("nan"))

"""Win rates of one policy against another, from the verdicts of a judge who may favour a place. NumPy and SciPy only.

A verdict is 1 where the policy wins, 0 where the other one does, 0.5 for a tie (or, between, the probability of a
win). Intervals are 95 % bootstraps in which all verdicts on a prompt are drawn together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from accord.algorithms.statistics import Floats, Interval, bootstrap_mean, wilson


@dataclass(frozen=True, slots=True)
class WinRate:
    """rate: the mean verdict, so that a tie is half a win. wins, ties, losses: their shares, which sum to 1."""

    rate: Interval
    wins: Interval
    ties: Interval
    losses: Interval


def win_rate_of(verdict_p: ArrayLike, *, groups: ArrayLike | None = None, seed: int) -> WinRate:
    """From verdicts, [p]. A probability above one half counts as a win in the shares, one below it as a loss."""
    verdict = np.asarray(verdict_p, dtype=np.float64)
    assert ((verdict >= 0) & (verdict <= 1)).all(), "verdicts lie in [0, 1]"
    return WinRate(
        mean_interval(verdict, groups=groups, seed=seed),
        mean_interval(verdict > 0.5, groups=groups, seed=seed),
        mean_interval(verdict == 0.5, groups=groups, seed=seed),
        mean_interval(verdict < 0.5, groups=groups, seed=seed),
    )


def mean_interval(values: ArrayLike, *, groups: ArrayLike | None = None, seed: int) -> Interval:
    """The mean of values from 0 to 1, drawn by group. Where no draw changes it (all are wins, say) drawing tells
    nothing, and the interval is Wilson's with the groups as their number."""
    flat = np.asarray(values, dtype=np.float64)
    found = bootstrap_mean(flat, seed=seed, groups=groups)
    if found.low < found.high:
        return found
    num = len(flat) if groups is None else len(np.unique(np.asarray(groups)))
    return wilson(min(max(found.value, 0.0), 1.0) * num, num)


def both_orders(first_p: ArrayLike, second_p: ArrayLike) -> Floats:
    """One verdict of two, [p]: a win or a loss only where both orders say so, else a tie (Zheng et al. 2023,
    arXiv:2306.05685, section 3.4). A judge who always names one place then says nothing.

    first_p: verdicts with the policy's response in the first place; second_p: in the second. Both from the policy's
    point of view, and 0, 0.5 or 1.

    >>> both_orders([1, 1, 0, 0.5], [1, 0, 0, 1]).tolist()
    [1.0, 0.5, 0.0, 0.5]
    """
    first, second = np.asarray(first_p, dtype=np.float64), np.asarray(second_p, dtype=np.float64)
    agreed: Floats = np.where(first == second, first, 0.5)
    return agreed


def flip_rate(first_p: ArrayLike, second_p: ArrayLike, *, groups: ArrayLike | None = None, seed: int) -> Interval:
    """The share of pairs whose verdict changes with the order of the responses; a tie in one order alone is a change.
    1 less it is what MT-Bench calls consistency."""
    changed = np.asarray(first_p, dtype=np.float64) != np.asarray(second_p, dtype=np.float64)
    return mean_interval(changed, groups=groups, seed=seed)


def first_place_share(
    first_p: ArrayLike, second_p: ArrayLike, *, groups: ArrayLike | None = None, seed: int
) -> Interval:
    """The share of verdicts for the response in the first place, a tie one half: 0.5 without a bias for a place.

    Every pair is judged in both orders, so what the judge thinks of the responses cancels out, and the place is left.
    """
    first, second = np.asarray(first_p, dtype=np.float64), np.asarray(second_p, dtype=np.float64)
    return mean_interval((first + 1 - second) / 2, groups=groups, seed=seed)


@dataclass(frozen=True, slots=True)
class Paired:
    """only_first, only_second: the items that one of the two alone got right. p_value: two-sided, exact."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(right_first_n: ArrayLike, right_second_n: ArrayLike) -> Paired:
    """Whether two policies differ on one suite, of whose items each got some right (McNemar 1947, in its exact form).

    Items that both or neither got right say nothing of the difference. Of the others, were the policies equal, each
    would be as likely the first's as the second's: p = 2 P(X <= min), X binomial with one half, at most 1.
    """
    first, second = np.asarray(right_first_n, dtype=bool), np.asarray(right_second_n, dtype=bool)
    assert first.shape == second.shape
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    total = only_first + only_second
    p_value = float(binomtest(only_first, total).pvalue) if total else 1.0
    return Paired(only_first, only_second, min(p_value, 1.0))

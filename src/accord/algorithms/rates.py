"""Rates of events in time, and their ratios, with exact intervals."""

from __future__ import annotations

from scipy.special import betaincinv, gammaincinv

from accord.algorithms.statistics import Interval

_TAIL = 0.025  # on each side of a 95 % interval


def poisson_rate(num_events: int, exposure: float) -> Interval:
    """Events a unit of exposure, with the exact 95 % interval of Garwood (1936, Biometrika 28): the rates at which so
    many events, or more, and so many, or fewer, have a probability of 2.5 %. exposure: > 0, for example hours.

    >>> poisson_rate(0, 2.0).low, round(poisson_rate(0, 2.0).high, 4)
    (0.0, 1.8444)
    """
    low = float(gammaincinv(num_events, _TAIL)) if num_events else 0.0
    high = float(gammaincinv(num_events + 1, 1 - _TAIL))
    return Interval(num_events / exposure, low / exposure, high / exposure)


def rate_ratio(num_events: int, exposure: float, num_before: int, exposure_before: float) -> Interval:
    """A rate divided by an earlier one, with the exact interval that comes of the share of all events that are later
    ones, which is binomial (Przyborowski and Wilenski 1940, Biometrika 31). NaN, 0 and infinity where they belong.
    """
    total = num_events + num_before
    if not total:
        return Interval(float("nan"), 0.0, float("inf"))
    low = float(betaincinv(num_events, num_before + 1, _TAIL)) if num_events else 0.0
    high = float(betaincinv(num_events + 1, num_before, 1 - _TAIL)) if num_before else 1.0
    scale = exposure_before / exposure
    return Interval(_odds(num_events / total) * scale, _odds(low) * scale, _odds(high) * scale)


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else float("inf")

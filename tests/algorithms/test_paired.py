from __future__ import annotations

import math

import numpy as np
import pytest

from accord.algorithms.paired import side_by_side, side_by_side_of
from accord.algorithms.statistics import bootstrap_mean
from accord.algorithms.win_rates import mcnemar

NAN = math.nan


def test_means_and_their_difference_by_hand() -> None:
    before, after = [1.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 1.0]
    found = side_by_side({"before": before, "after": after}, seed=1)
    assert (found["before"].interval.value, found["after"].interval.value) == (0.6, 0.4)
    assert found["before"].difference is None
    difference = found["after"].difference
    assert difference is not None
    assert difference.interval.value == pytest.approx(-0.2)
    assert (difference.num, difference.p_value) == (5, 1.0)  # 2 against 1
    assert difference.p_value == mcnemar(before, after).p_value
    assert difference.interval == bootstrap_mean(np.array(after) - np.array(before), seed=1)


def test_what_is_alike_differs_by_nothing() -> None:
    values = [1.0, 0.0] * 40
    found = side_by_side({"a": values, "b": list(values)}, seed=1)
    difference = found["b"].difference
    assert difference is not None
    assert (difference.interval.low, difference.interval.value, difference.interval.high) == (0.0, 0.0, 0.0)
    assert found["a"].interval.high - found["a"].interval.low > 0.1


def test_items_that_one_lacks_are_left_out_of_the_difference() -> None:
    found = side_by_side({"a": [8.0, NAN, 4.0, 6.0], "b": [9.0, 1.0, NAN, 8.0]}, seed=1)
    assert (found["a"].interval.value, found["a"].num) == (6.0, 3)
    assert (found["b"].interval.value, found["b"].num) == (6.0, 3)
    difference = found["b"].difference
    assert difference is not None
    assert (difference.interval.value, difference.num, difference.p_value) == (1.5, 2, None)
    apart = side_by_side({"a": [1.0, NAN], "b": [NAN, 1.0]}, seed=1)
    assert apart["b"].difference is None


def test_items_that_belong_together_are_drawn_together() -> None:
    values, groups = [1.0] * 10 + [0.0] * 10, ["x"] * 10 + ["y"] * 10
    apart = side_by_side({"a": values, "b": values[::-1]}, seed=1)
    together = side_by_side({"a": values, "b": values[::-1]}, groups=groups, seed=1)
    assert (together["a"].interval.low, together["a"].interval.high) == (0.0, 1.0)  # two groups, and no more
    assert apart["a"].interval.low > 0.2
    assert apart["b"].difference is not None
    assert apart["b"].difference.p_value == 1.0
    assert together["b"].difference is not None
    assert together["b"].difference.p_value is None


def test_a_number_that_is_no_mean() -> None:
    """Log-likelihood and words of two texts: exp(-(-6 - 3) / (2 + 1)) = e^3, and e^1 for the other policy."""

    def perplexity(items: object) -> float:
        rows = list(items)  # type: ignore[call-overload]
        return math.exp(-sum(one for one, _ in rows) / sum(num for _, num in rows))

    first, second = [(-6.0, 2), (-3.0, 1)], [(-2.0, 2), (-1.0, 1)]
    found = side_by_side_of({"first": first, "second": second}, perplexity, seed=1)
    assert found["first"].interval.value == pytest.approx(math.e**3)
    assert found["second"].interval.value == pytest.approx(math.e)
    difference = found["second"].difference
    assert difference is not None
    for end in (difference.interval.low, difference.interval.value, difference.interval.high):
        assert end == pytest.approx(math.e - math.e**3)  # each text has the same rate


def test_draws_without_a_number_are_left_out() -> None:
    def share_of_known(items: object) -> float:
        known = [one for one in list(items) if one is not None]  # type: ignore[call-overload]
        return sum(known) / len(known) if known else NAN

    found = side_by_side_of({"a": [None, 1.0, 0.0]}, share_of_known, seed=1)["a"].interval
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    nothing = side_by_side_of({"a": [None]}, share_of_known, seed=1)["a"].interval
    assert all(math.isnan(end) for end in (nothing.value, nothing.low, nothing.high))

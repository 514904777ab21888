from __future__ import annotations

import numpy as np
import pytest

from accord.algorithms.null_baselines import null_baselines
from accord.algorithms.statistics import Interval


def test_by_hand() -> None:
    """The chosen response is longer twice, as long once and shorter once, and stands first once."""
    found = null_baselines([3, 1, 0, -2], [True, False, False, False], seed=1)
    assert {name: one.value for name, one in found.items() if one} == {
        "longest": 2.5 / 4,
        "shortest": 1.5 / 4,
        "first": 0.25,
        "constant": 0.5,
    }
    assert found["constant"] == Interval(0.5, 0.5, 0.5)


def test_an_order_that_is_the_label_is_no_baseline() -> None:
    assert null_baselines([1, 2], [True, True], seed=1)["first"] is None
    assert null_baselines([1, 2], [False, False], seed=1)["first"] is None


def test_pairs_of_a_prompt_are_drawn_together() -> None:
    longer = np.repeat(np.random.default_rng(1).normal(size=50), 9)
    first = np.arange(450) % 2 == 0
    together = null_baselines(longer, first, groups=np.arange(450) // 9, seed=1)["longest"]
    apart = null_baselines(longer, first, seed=1)["longest"]
    assert together
    assert apart
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(3, rel=0.15)

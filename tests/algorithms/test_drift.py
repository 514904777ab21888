from __future__ import annotations

import math

import numpy as np
import pytest

from accord.algorithms.drift import ordering


def test_by_hand() -> None:
    """Two prompts of three responses. The first: trained 0, 1, 2, judge 0, 2, 1: pairs (1, 2), (1, 3) right, (2, 3)
    wrong. The second: the judge holds all for equal but the third, 1 above; trained 1, 0, 1: (1, 3) a tie, (2, 3)
    right."""
    trained = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]])
    judge = np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
    found = ordering(trained, judge)
    assert found is not None
    assert found[0] == pytest.approx((1 + 1 + 0 + 0.5 + 1) / 5)

    def sure(gap: float) -> float:
        return 1 / (1 + math.exp(-gap))

    assert found[1] == pytest.approx((sure(1) + sure(2) + sure(1) + sure(0) + sure(1)) / 5)


def test_nothing_to_compare() -> None:
    assert ordering(np.zeros((3, 1)), np.ones((3, 1))) is None
    assert ordering(np.arange(6.0).reshape(2, 3), np.ones((2, 3))) is None


def test_the_opposite_order_has_nothing_right() -> None:
    scores = np.array([[1.0, 2.0, 3.0]])
    assert ordering(scores, -scores) == (0.0, pytest.approx((2 / (1 + math.exp(-1)) + 1 / (1 + math.exp(-2))) / 3))

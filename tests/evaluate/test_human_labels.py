from __future__ import annotations

import numpy as np
import pytest

from accord.algorithms.agreement import cohen_kappa
from accord.evaluate.human_labels import class_error, grade_error, grouped, statistic_interval

PROMPTS = [f"p{i}" for i in range(10)]


def test_classes_by_hand() -> None:
    """Of ten, people say yes to four: three of these are seen, one of the six others is taken for a yes, one unread."""
    said = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    found = [1, 1, 1, 0, 1, 0, 0, 0, 0, None]
    error = class_error(found, said, PROMPTS, num_classes=2, seed=1)
    assert (error.num, error.num_unknown, error.floor) == (10, 1, 0.6)
    assert error.sensitivity is not None
    assert error.specificity is not None
    assert (error.accuracy.value, error.sensitivity.value) == (0.7, 0.75)
    assert error.specificity.value == pytest.approx(4 / 6)
    assert error.confusion == ((4, 1), (1, 3))
    # Of the nine read: agreement 7/9; chance (4/9)(4/9) + (5/9)(5/9) = 41/81.
    assert error.kappa is not None
    assert error.kappa.value == pytest.approx((7 / 9 - 41 / 81) / (1 - 41 / 81))
    assert error.kappa.low < error.kappa.value < error.kappa.high
    # Alpha: 18 ratings, 8 ones and 10 noughts; D_o = 2 / 9, D_e = 1 - (8 * 7 + 10 * 9) / (18 * 17).
    assert error.alpha is not None
    assert error.alpha.value == pytest.approx(1 - (2 / 9) / (1 - 146 / 306))


def test_a_detector_that_says_one_thing_alone_agrees_by_chance() -> None:
    error = class_error([0] * 10, [1] * 4 + [0] * 6, PROMPTS, num_classes=2, seed=1)
    assert (error.accuracy.value, error.floor) == (0.6, 0.6)
    assert error.kappa is not None
    assert error.kappa.value == 0.0
    alone = class_error([0, 0], [0, 0], ["a", "b"], num_classes=2, seed=1)
    assert (alone.kappa, alone.alpha, alone.sensitivity) == (None, None, None)


def test_numbers_by_hand() -> None:
    error = grade_error([0.0, 0.5, 1.0, None], [0.25, 0.5, 0.75, 1.0], list("abcd"), seed=1)
    assert error is not None
    assert (error.num, error.num_unknown) == (3, 1)
    assert error.absolute_error.value == pytest.approx(0.5 / 3)
    assert error.floor == pytest.approx(0.5 / 3)  # always 0.5
    assert error.correlation is not None
    assert error.correlation.value == pytest.approx(1.0)
    # D_o: squares 1/16, 0, 1/16, of 3 pairs; D_e over the 15 pairs of 0, .25, .5, .5, .75, 1 in sixteenths:
    # 0: 1+4+4+9+16 = 34; .25: 1+1+4+9 = 15; .5 twice: 0+1+4 and 1+4 = 10; .75: 1. 60 / 15 = 4 sixteenths.
    assert error.alpha is not None
    assert error.alpha.value == pytest.approx(1 - (2 / 3) / 4)
    assert grade_error([None], [1.0], ["a"], seed=1) is None


def test_prompts_are_drawn_whole() -> None:
    """Ten copies of one prompt's labels tell no more than one."""
    rng = np.random.default_rng(1)
    ratings = rng.integers(0, 2, (40, 2)).astype(float)
    groups = grouped([f"p{i}" for i in range(40)])
    once = statistic_interval(ratings, cohen_kappa, groups, 1)
    tenfold = statistic_interval(np.repeat(ratings, 10, axis=0), cohen_kappa, np.repeat(groups, 10), 1)
    assert once is not None
    assert tenfold is not None
    assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low)
    assert grouped(["Why  so?", "why so?"]).tolist() == ["why so?"] * 2

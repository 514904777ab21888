"""Hand-computed values; logistic regressions whose answer is known, because the data is made from it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.algorithms.calibration import (
    Platt,
    auc,
    average_precision,
    confidence,
    ece,
    ece_of_calibrated,
    gap_slope,
    log_losses,
    platt,
    precision_recall,
    reliability_curve,
    sigmoid,
)
from accord.algorithms.statistics import wilson


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid([0.0, math.log(3), -math.log(3), 1e4, -1e4]).tolist() == pytest.approx([0.5, 0.75, 0.25, 1.0, 0.0])


def test_confidence_is_of_the_higher_score_whatever_the_order() -> None:
    claimed, right = confidence([math.log(3), -math.log(3), 0.0])
    assert claimed.tolist() == pytest.approx([0.75, 0.75, 0.5])
    assert right.tolist() == [1.0, 0.0, 0.5]


def test_log_loss() -> None:
    # -ln 0.75, -ln 0.25, -ln 0.5
    losses = log_losses([math.log(3), -math.log(3), 0.0])
    assert losses.tolist() == pytest.approx([0.287682, 1.386294, 0.693147], abs=1e-6)
    assert log_losses([1e4]).tolist() == [0.0]


def test_reliability_curve_and_ece_by_hand() -> None:
    curve = reliability_curve([0.52, 0.58, 0.9, 1.0, 0.94], [1, 0, 1, 1, 0], num_bins=5, low=0.5)
    assert [(one.low, one.high, one.num) for one in curve] == [
        (pytest.approx(0.5), pytest.approx(0.6), 2),
        (pytest.approx(0.9), 1.0, 3),
    ]
    assert [one.predicted for one in curve] == pytest.approx([0.55, 0.94666667])
    assert [one.share.value for one in curve] == pytest.approx([1 / 2, 2 / 3])
    # (2 * |0.5 - 0.55| + 3 * |0.666667 - 0.946667|) / 5 = (0.1 + 0.84) / 5
    assert ece(curve) == pytest.approx(0.188, abs=1e-9)
    assert curve[1].share == wilson(2, 3)


def test_the_slope_of_gaps_is_that_of_platt_on_both_orders() -> None:
    rng = np.random.default_rng(4)
    gap = rng.normal(0.6, 1.5, size=300)
    both = platt(np.concatenate([gap, -gap]), np.arange(600) < 300)
    assert both.bias == pytest.approx(0, abs=1e-8)
    assert gap_slope(gap) == pytest.approx(both.slope, abs=1e-7)
    twice = gap_slope(gap, np.full(300, 2.0))  # another smoothing, and little else
    assert twice == pytest.approx(both.slope, abs=0.01)
    weight = np.repeat([1.0, 0.0], 150)
    half = platt(np.concatenate([gap[:150], -gap[:150]]), np.arange(300) < 150)
    assert gap_slope(gap, weight) == pytest.approx(half.slope, abs=1e-7)


def test_gaps_that_are_half_of_the_log_odds_have_the_slope_two() -> None:
    odds = np.log(4.0)  # right four times in five
    gap = np.tile(np.array([odds, odds, odds, odds, -odds]) / 2, 2000)
    assert gap_slope(gap) == pytest.approx(2.0, rel=1e-3)


def test_the_ece_that_chance_makes() -> None:
    """Of 100 predictions of 0.7 in one bin it is |share - 0.7|: a deviation of sqrt(0.21 / 100), twice that at most."""
    found = ece_of_calibrated([0.7] * 100, seed=1, low=0.5)
    assert found == pytest.approx(1.96 * math.sqrt(0.21 / 100), abs=0.015)
    assert ece_of_calibrated([0.7] * 10_000, seed=1, low=0.5) < found / 5
    assert ece_of_calibrated([1.0] * 10, seed=1) == 0.0


def test_what_shares_a_prompt_counts_once_for_the_interval() -> None:
    (alone,) = reliability_curve([0.7] * 4, [1, 1, 0, 0], num_bins=1)
    (shared,) = reliability_curve([0.7] * 4, [1, 1, 0, 0], num_bins=1, groups=["a", "a", "b", "b"])
    assert alone.share == wilson(2, 4)
    assert shared.share == wilson(1, 2)
    assert (alone.num, shared.num) == (4, 4)


def test_outcomes_as_predicted_have_no_calibration_error() -> None:
    predicted = np.repeat([0.25, 0.75], 8)
    outcome = np.tile([1, 0, 0, 0], 2).tolist() + np.tile([1, 1, 1, 0], 2).tolist()
    assert ece(reliability_curve(predicted, outcome)) == pytest.approx(0)


def _drawn(slope: float, bias: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores from -3 to 3, each with as many positives of 10,000 as the sigmoid says."""
    score = np.linspace(-3, 3, 13)
    num = np.rint(10_000 * sigmoid(slope * score + bias)).astype(int)
    return np.repeat(score, 10_000), np.concatenate([np.arange(10_000) < n for n in num])


@pytest.mark.parametrize(("slope", "bias"), [(1.0, 0.0), (0.4, -0.7), (2.5, 1.0), (-1.5, 0.2)])
def test_platt_finds_the_sigmoid_that_made_the_labels(slope: float, bias: float) -> None:
    found = platt(*_drawn(slope, bias))
    assert (found.slope, found.bias) == pytest.approx((slope, bias), abs=2e-3)
    assert found([0.5]).tolist() == pytest.approx([1 / (1 + math.exp(-found.slope / 2 - found.bias))])


def test_platt_smooths_its_targets() -> None:
    # Two points, one of each label: targets (1 + 1) / (1 + 2) = 2/3 and 1 / (1 + 2) = 1/3 are met exactly,
    # slope * 1 + bias = ln 2 and -slope + bias = -ln 2: slope ln 2, bias 0.
    found = platt([1.0, -1.0], [True, False])
    assert (found.slope, found.bias) == pytest.approx((math.log(2), 0.0), abs=1e-9)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=30))
def test_platt_of_gaps_in_both_orders_has_no_bias(gaps: list[float]) -> None:
    both = [*gaps, *(-gap for gap in gaps)]
    found = platt(both, [True] * len(gaps) + [False] * len(gaps))
    assert math.isfinite(found.slope)
    assert found.bias == pytest.approx(0, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=2, max_size=40))
def test_platt_is_finite_and_monotone(rows: list[tuple[float, bool]]) -> None:
    score, positive = [score for score, _ in rows], [label for _, label in rows]
    if len(set(positive)) < 2:
        return
    found = platt(score, positive)
    assert math.isfinite(found.slope)
    assert math.isfinite(found.bias)
    steps = np.diff(found(np.linspace(-5, 5, 21))) * np.sign(found.slope)
    assert (steps >= 0).all()


def test_platt_of_scores_that_tell_nothing_is_the_base_rate() -> None:
    found = platt([2.0] * 4, [True, True, True, False])
    # the mean of the smoothed targets: (3 * 4/5 + 1/3) / 4 = 0.683333
    assert found([2.0]).tolist() == pytest.approx([0.683333], abs=1e-5)


def test_a_calibrated_model_is_left_as_it_is() -> None:
    assert Platt(1.0, 0.0)([0.3]).tolist() == sigmoid([0.3]).tolist()


def test_auc_by_hand() -> None:
    # positives 3, 1 against negatives 2, 1: 3 > 2, 3 > 1, 1 < 2, 1 = 1: (1 + 1 + 0 + 1/2) / 4
    assert auc([3, 1, 2, 1], [True, True, False, False]) == pytest.approx(0.625)
    assert auc([1, 1], [True, False]) == 0.5


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    positive = [score for score, label in rows if label]
    negative = [score for score, label in rows if not label]
    if positive and negative:
        wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
        found = auc([score for score, _ in rows], [label for _, label in rows])
        assert found == pytest.approx(wins / (len(positive) * len(negative)))


def test_precision_and_recall_by_hand() -> None:
    # found 3 of which 2 are true; true 4 of which 2 were found
    assert precision_recall([1, 1, 1, 0, 0], [1, 1, 0, 1, 1]) == (pytest.approx(2 / 3), 0.5)
    nothing, recall = precision_recall([0, 0], [1, 0])
    assert math.isnan(nothing)
    assert recall == 0.0


def test_average_precision_by_hand() -> None:
    # from the highest: true, false, true; then recall is whole: (1 + 2/3) / 2
    assert average_precision([4, 3, 2, 1], [1, 0, 1, 0]) == pytest.approx(5 / 6)
    assert average_precision([4, 3, 3, 1], [1, 0, 1, 0]) == pytest.approx((1 + 2 / 3) / 2)  # equal ones together
    assert average_precision([0, 0, 0, 0], [1, 0, 0, 0]) == 0.25  # a model that knows nothing
    assert average_precision([1, 2], [1, 1]) == 1.0
    assert math.isnan(average_precision([1, 2], [0, 0]))


def test_average_precision_counts_weights_as_repetitions() -> None:
    repeated = average_precision([4, 4, 3, 2, 2, 2], [1, 1, 0, 1, 1, 1])
    assert average_precision([4, 3, 2, 1], [1, 0, 1, 0], [2, 1, 3, 0]) == pytest.approx(repeated)
    assert average_precision([9, 4, 3], [0, 1, 0], [0, 1, 1]) == 1.0  # of weight 0 before all others
    assert math.isnan(average_precision([4, 3], [1, 0], [0, 1]))

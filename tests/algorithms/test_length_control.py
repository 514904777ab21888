from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from accord.algorithms.calibration import sigmoid
from accord.algorithms.length_control import STRENGTHS, fit_l1, length_controlled, length_feature

LN3 = math.log(3)


def judged(seed: int, theta: float, phi: float, *, num: int = 600, shift: float = 150.0) -> tuple[np.ndarray, ...]:
    """Verdicts of a judge whose taste for length is known, on a policy that is longer by `shift` on average."""
    rng = np.random.default_rng(seed)
    longer = rng.normal(shift, 300, num).round()
    wins = rng.random(num) < sigmoid(theta + phi * np.tanh(longer / longer.std(ddof=1)))
    return wins.astype(float), longer


def test_without_lengths_it_is_the_win_rate() -> None:
    """logit(3/4) = ln 3; the penalty of 1e-4 is too weak to be seen."""
    ones = np.ones((400, 1))
    found = fit_l1(ones, np.array([1.0, 1, 1, 0] * 100), np.ones(400), np.array([1e-4]))
    assert found == pytest.approx([LN3], abs=1e-5)
    both = length_controlled([1.0, 1, 1, 0] * 100, np.zeros(400), seed=1)
    assert both.win_rate.value == pytest.approx(0.75, abs=2e-3)
    assert both.length_effect.value == 0


def test_the_penalty_by_hand() -> None:
    """d/dtheta of the loss: 8 (sigmoid(theta) - 3/4) = -penalty. With 1: sigmoid(theta) = 5/8; with 2 or more 0."""
    ones, target, weight = np.ones((8, 1)), np.array([1.0, 1, 1, 0] * 2), np.ones(8)
    assert sigmoid(fit_l1(ones, target, weight, np.array([1.0]))) == pytest.approx([5 / 8])
    assert fit_l1(ones, target, weight, np.array([2.0])).tolist() == [0.0]
    assert fit_l1(ones, target, weight, np.array([3.0])).tolist() == [0.0]


def test_soft_labels_are_their_share_of_wins_and_losses() -> None:
    features = np.stack([np.ones(6), np.linspace(-1, 1, 6)], axis=1)
    q = np.array([0.1, 0.5, 0.3, 0.8, 0.5, 1.0])
    apart = np.concatenate([np.ones(6), np.zeros(6)])
    soft = fit_l1(features, q, np.ones(6), np.array([0.1, 0.1]))
    hard = fit_l1(np.concatenate([features, features]), apart, np.concatenate([q, 1 - q]), np.array([0.1, 0.1]))
    np.testing.assert_allclose(soft, hard, atol=1e-7)


@pytest.mark.parametrize("penalty", [0.01, 1.0, 20.0])
def test_it_is_the_fit_of_another_implementation(penalty: float) -> None:
    wins, longer = judged(1, 0.4, 0.8)
    features = np.stack([np.ones_like(longer), length_feature(longer)], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its options are renamed now and then
        theirs = LogisticRegression(
            penalty="l1", C=1 / penalty, solver="liblinear", fit_intercept=False, tol=1e-9, max_iter=10_000
        )
        theirs.fit(features, wins)
    ours = fit_l1(features, wins, np.ones(len(wins)), np.array([penalty, penalty]))
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-4)


def test_a_known_effect_of_length_is_recovered() -> None:
    """An equal policy that is longer, before a judge who likes length: it wins more than half, and should not."""
    held = {"win rate": 0, "effect": 0}
    for seed in range(12):
        wins, longer = judged(seed, 0.0, 1.5)
        assert wins.mean() > 0.55
        found = length_controlled(wins, longer, seed=1, num_resamples=100)
        assert found.win_rate.value == pytest.approx(0.5, abs=0.08)
        held["win rate"] += found.win_rate.low <= 0.5 <= found.win_rate.high
        held["effect"] += found.length_effect.low <= 1.5 <= found.length_effect.high
    assert min(held.values()) >= 10  # of 11 that are expected


def test_with_few_prompts_too() -> None:
    truth, held = sigmoid(0.5), 0
    for seed in range(12):
        found = length_controlled(*judged(100 + seed, 0.5, 0.3, num=80), seed=1, num_resamples=100)
        held += found.win_rate.low <= truth <= found.win_rate.high
    assert held >= 10


def test_a_policy_against_itself_has_one_half() -> None:
    texts = np.full(50, 0.5)
    found = length_controlled(texts, np.zeros(50), seed=1, num_resamples=50)
    assert (found.win_rate.value, found.win_rate.low, found.win_rate.high) == (0.5, 0.5, 0.5)
    wins, longer = judged(3, 0.7, 1.0)  # every pair in both roles
    both = length_controlled(
        np.concatenate([wins, 1 - wins]), np.concatenate([longer, -longer]), seed=1, num_resamples=50
    )
    assert both.win_rate.value == pytest.approx(0.5, abs=1e-6)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1), st.floats(-2, 2))
def test_swapping_the_policies_mirrors_it(seed: int, theta: float, phi: float) -> None:
    wins, longer = judged(seed, theta, phi, num=80)
    one = length_controlled(wins, longer, seed=1, num_resamples=20)
    other = length_controlled(1 - wins, -longer, seed=1, num_resamples=20)
    assert other.win_rate.value == pytest.approx(1 - one.win_rate.value, abs=1e-5)
    assert other.length_effect.value == pytest.approx(one.length_effect.value, abs=1e-5)
    assert one.penalty in STRENGTHS


def test_prompts_are_drawn_whole() -> None:
    wins, longer = judged(4, 0.3, 0.5, num=100)
    ten = [np.repeat(one, 10) for one in (wins, longer)]
    together = length_controlled(*ten, groups=np.arange(1000) // 10, seed=1, num_resamples=300).win_rate
    apart = length_controlled(*ten, seed=1, num_resamples=300).win_rate
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(math.sqrt(10), rel=0.25)


def test_all_wins_are_a_finite_number() -> None:
    rng = np.random.default_rng(1)
    found = length_controlled(np.ones(30), rng.normal(size=30), seed=1, num_resamples=20)
    assert 0.9 < found.win_rate.value <= 1
    # Wilson's interval of 30 wins in 30 prompts: from 1 / (1 + 3.841458 / 30) to 1; mirrored where all are losses.
    assert (found.win_rate.low, found.win_rate.high) == pytest.approx((0.886487, 1.0), abs=1e-5)
    lost = length_controlled(np.zeros(30), np.arange(30), groups=np.arange(30) // 3, seed=1, num_resamples=20)
    assert (lost.win_rate.low, lost.win_rate.high) == pytest.approx((0.0, 0.277533), abs=1e-5)


def test_one_difference_in_length_alone_tells_nothing() -> None:
    with pytest.raises(ValueError, match="the same difference in length"):
        length_controlled([1.0, 0, 1], [40, 40, 40], seed=1)
    assert length_controlled([1.0, 0, 1], [0, 0, 0], seed=1, num_resamples=5).length_effect.value == 0

"""Gao et al.'s curves: values worked out by hand, recovery of known coefficients, and when there is no curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.algorithms.overoptimization import Fit, NoFit, band, fit_curve, turning_point

DISTANCES = [0.5, 1.0, 2.0, 3.0]


def test_best_of_n_by_hand():
    # d (2 - d / 2): 0.5 * 1.75, 1 * 1.5, 2 * 1, 3 * 0.5; highest at 2 / (2 * 0.5) = 2, where it is 2.
    fit = fit_curve(DISTANCES, [0.875, 1.5, 2.0, 1.5], "best_of_n")
    assert (fit.alpha, fit.beta, fit.r_squared) == pytest.approx((2.0, 0.5, 1.0))
    assert fit.peak == pytest.approx(2.0)
    assert fit.at([2.0]) == pytest.approx([2.0])


def test_rl_by_hand():
    # d (1 - ln d / 2): highest where 1 - ln d / 2 = 1 / 2, at d = e, where it is e / 2.
    fit = fit_curve(DISTANCES, [d * (1 - 0.5 * math.log(d)) for d in DISTANCES], "rl")
    assert (fit.alpha, fit.beta) == pytest.approx((1.0, 0.5))
    assert fit.peak == pytest.approx(math.e)
    assert fit.at([0.0, math.e]) == pytest.approx([0.0, math.e / 2])


def test_iterations_move_the_turn():
    # d (1 - ln d / 2 + ln 2 / 2): one iteration's turn times k.
    scores = [d * (1 - 0.5 * math.log(d) + 0.5 * math.log(2)) for d in DISTANCES]
    fit = fit_curve(DISTANCES, scores, "rl", num_iterations=2)
    assert (fit.alpha, fit.beta) == pytest.approx((1.0, 0.5))
    assert fit.peak == pytest.approx(2 * math.e)


@given(st.floats(0.1, 5), st.floats(0.05, 2), st.sampled_from(["best_of_n", "rl"]))
def test_the_peak_is_the_highest_point(alpha, beta, form):
    fit = Fit(form, alpha, beta, 1.0)
    peak = fit.peak
    around = fit.at([0.99 * peak, peak, 1.01 * peak])
    assert around[1] >= max(around[0], around[2])
    again = fit_curve([0.5 * peak, peak, 1.5 * peak, 2 * peak], fit.at(np.array([0.5, 1, 1.5, 2]) * peak), form)
    assert (again.alpha, again.beta) == pytest.approx((alpha, beta), rel=1e-5)


def test_weights_are_of_least_squares():
    # With a weight of almost nothing the point that is off does not count.
    scores = [0.875, 1.5, 2.0, 99.0]
    assert fit_curve(DISTANCES, scores, "best_of_n", weights=[1, 1, 1, 1e-12]).alpha == pytest.approx(2.0, abs=1e-6)
    assert fit_curve(DISTANCES, scores, "best_of_n").beta < 0
    # By hand: weighted normal equations on three points.
    d, r, w = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
    x = np.stack([d, -(d**2)], axis=1)
    alpha, beta = np.linalg.solve(x.T @ (w[:, None] * x), x.T @ (w * r))
    fit = fit_curve(d, r, "best_of_n", weights=w)
    assert (fit.alpha, fit.beta) == pytest.approx((alpha, beta))


def test_no_turn():
    rising = fit_curve(DISTANCES, DISTANCES, "best_of_n")
    assert rising.peak is None or rising.peak > 1e6
    assert Fit("best_of_n", 1.0, -0.1, 1.0).peak is None
    assert Fit("best_of_n", -1.0, 0.1, 1.0).peak is None  # it falls from the start
    assert Fit("rl", 1.0, 0.0, 1.0).peak is None
    assert Fit("rl", 1000.0, 1.0, 1.0).peak is None  # beyond every number


@pytest.mark.parametrize(
    ("distances", "scores", "why"),
    [
        ([1.0, 2.0], [1.0, 1.0], "2 different distances"),
        ([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0], "2 different distances"),
        ([1.0, 2.0, math.nan], [1.0, 1.0, 1.0], "2 different distances"),
        ([1.0, 1 + 1e-10, 1 + 2e-10], [1.0, 1.0, 1.0], "too much alike"),
    ],
)
def test_no_fit(distances, scores, why):
    with pytest.raises(NoFit, match=why):
        fit_curve(distances, scores, "best_of_n")


def test_what_cannot_be():
    with pytest.raises(ValueError, match="go together"):
        fit_curve([1.0, 2.0], [1.0], "rl")
    with pytest.raises(ValueError, match="not negative"):
        fit_curve([-1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "rl")
    with pytest.raises(ValueError, match="iterated form is of rl"):
        fit_curve(DISTANCES, DISTANCES, "best_of_n", num_iterations=2)


def test_turning_point_knows_what_was_reached():
    fit = Fit("best_of_n", 2.0, 0.5, 1.0)  # turns at 2
    resamples = [Fit("best_of_n", 2.0, beta, 1.0) for beta in np.linspace(0.4, 0.6, 101)]  # at 2.5 to 1.67
    seen = turning_point(fit, resamples, farthest=3.0)
    assert (seen.distance.value, seen.score, seen.share_inside, seen.inside) == (2.0, 2.0, 1.0, True)
    assert 1.66 < seen.distance.low < 1.72
    assert 2.4 < seen.distance.high < 2.5
    hoped_for = turning_point(fit, resamples, farthest=1.9)
    assert not hoped_for.inside
    assert 0 < hoped_for.share_inside < 0.5
    never = turning_point(fit, [*resamples, *[Fit("best_of_n", 2.0, -0.1, 1.0)] * 10], farthest=3.0)
    assert never.distance.high == math.inf
    assert not never.inside
    falling = turning_point(Fit("best_of_n", 1.0, -0.1, 1.0), resamples, farthest=3.0)
    assert (falling.distance, falling.score, falling.inside) == (None, None, False)


def test_band():
    low, high = band([Fit("best_of_n", alpha, 0.0, 1.0) for alpha in np.linspace(0, 1, 41)], [0.0, 2.0])
    assert low == pytest.approx([0.0, 0.05])
    assert high == pytest.approx([0.0, 1.95])

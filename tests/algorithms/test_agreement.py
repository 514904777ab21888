from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from accord.algorithms.agreement import agreement_between, cohen_kappa, gwet_ac, krippendorff_alpha, pairwise_agreement

NAN = float("nan")
RATINGS = arrays(
    np.float64, st.tuples(st.integers(2, 12), st.integers(2, 5)), elements=st.sampled_from([0.0, 1, 2, 4, NAN])
)


def skewed() -> np.ndarray:
    """Two raters with 9 and 8 of 10 positives, and one disagreement."""
    return np.array([[1, 1]] * 8 + [[1, 0]] + [[0, 0]], dtype=float)


def test_gwet_by_hand() -> None:
    """p_a = .9; the share of positives is .85, so p_e = 2 * .85 * .15 / (2 - 1) = .255, and AC1 = .645 / .745."""
    assert gwet_ac(skewed()) == pytest.approx((0.9 - 0.255) / (1 - 0.255))
    assert gwet_ac(skewed()) == pytest.approx(0.866, abs=5e-4)


def test_alpha_by_hand() -> None:
    """Ten units of two: 17 ones and 3 zeros. D_o = 2 of 20 pairs; D_e = 2 * 17 * 3 / (20 * 19)."""
    assert krippendorff_alpha(skewed()) == pytest.approx(1 - (2 / 20) / (2 * 17 * 3 / (20 * 19)))


def test_weights_by_hand() -> None:
    """Three categories, two raters: (0, 1) agree by half (linear) or three quarters (quadratic). Two units: (0, 1),
    (2, 2). Shares: 1/4, 1/4, 1/2, so that sum of pi (1 - pi) = 5/8."""
    ratings = np.array([[0, 1], [2, 2]], dtype=float)
    for weights, agree, total in (("linear", 0.5, 5.0), ("quadratic", 0.75, 6.0)):
        by_chance = total / 6 * 5 / 8
        expected = ((agree + 1) / 2 - by_chance) / (1 - by_chance)
        assert gwet_ac(ratings, weights) == pytest.approx(expected)  # type: ignore[arg-type]


def test_a_category_that_nobody_gave_makes_agreement_less_by_chance() -> None:
    assert gwet_ac(skewed(), num_categories=2) == pytest.approx(gwet_ac(skewed()))
    assert gwet_ac(skewed(), num_categories=3) > gwet_ac(skewed())


@given(RATINGS, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_alpha_is_that_of_another_implementation(ratings: np.ndarray, level: str) -> None:
    given_values = ratings[~np.isnan(ratings)]
    pairable = ratings[(~np.isnan(ratings)).sum(axis=1) >= 2]
    ours = krippendorff_alpha(ratings, level)  # type: ignore[arg-type]
    if len(np.unique(pairable[~np.isnan(pairable)])) < 2:
        assert np.isnan(ours)
        return
    assert len(given_values)
    theirs = krippendorff.alpha(reliability_data=pairable.T, level_of_measurement=level)
    assert ours == pytest.approx(theirs, abs=1e-9)


@given(RATINGS)
def test_full_agreement_is_1_and_order_does_not_matter(ratings: np.ndarray) -> None:
    same = np.where(np.isnan(ratings[:, :1]), 0.0, ratings[:, :1]).repeat(3, axis=1)
    assert gwet_ac(same) == pytest.approx(1)
    shuffled = ratings[::-1, ::-1]
    assert krippendorff_alpha(shuffled) == pytest.approx(krippendorff_alpha(ratings), nan_ok=True)
    assert gwet_ac(shuffled) == pytest.approx(gwet_ac(ratings), nan_ok=True)


def test_random_ratings_agree_by_chance() -> None:
    ratings = np.random.default_rng(1).integers(0, 3, (5000, 4)).astype(float)
    assert abs(krippendorff_alpha(ratings)) < 0.02
    assert abs(gwet_ac(ratings)) < 0.02
    assert abs(gwet_ac(ratings, "quadratic")) < 0.02


def test_who_agrees_with_whom() -> None:
    ratings = np.array([[1, 1, NAN], [0, 1, NAN], [1, 1, 0]])
    share, both = pairwise_agreement(ratings)
    np.testing.assert_allclose(share, [[1, 2 / 3, 0], [2 / 3, 1, 0], [0, 0, 1]])
    assert both.tolist() == [[3, 3, 1], [3, 3, 1], [1, 1, 1]]
    share, both = pairwise_agreement(np.array([[1.0, NAN], [NAN, 1.0]]))
    assert np.isnan(share[0, 1])
    assert both[0, 1] == 0


def test_nothing_is_said_of_ratings_by_one_alone() -> None:
    alone = np.array([[1.0, NAN], [NAN, 0.0]])
    assert np.isnan(krippendorff_alpha(alone))
    assert np.isnan(gwet_ac(alone))
    assert np.isnan(gwet_ac(np.full((3, 2), NAN)))


def test_agreement_within_a_group_and_between_two_by_hand() -> None:
    """Raters 0 and 1 are of the first group, 2 of the second, 3 of both. Unit 0: 1 1 1 2; unit 1: 1 2 2 -."""
    ratings = np.array([[1, 1, 1, 2], [1, 2, 2, NAN]], dtype=float)
    first, second = np.array([True, True, False, True]), np.array([False, False, True, True])
    assert agreement_between(ratings, first, first) == (1, 4)  # 01 twice, 03 and 13 once each: one agrees
    assert agreement_between(ratings, second, second) == (0, 1)  # 23 of unit 0
    assert agreement_between(ratings, first, second) == (3, 4)  # 02 and 12 in both units; not 3, who is of both
    assert agreement_between(ratings, second, first) == (3, 4)


def test_kappa_by_hand() -> None:
    """p_a = .9; both say 1 with .9 and .8, both say 0 with .1 and .2: p_e = .72 + .02. AC1 is .866 there."""
    assert cohen_kappa(skewed()) == pytest.approx((0.9 - 0.74) / (1 - 0.74))
    assert cohen_kappa(skewed()) == pytest.approx(0.615, abs=5e-4)


def test_kappa_leaves_out_what_one_did_not_rate_and_knows_what_it_cannot_say() -> None:
    assert cohen_kappa(np.vstack([skewed(), [[1, NAN], [NAN, 0]]])) == pytest.approx(cohen_kappa(skewed()))
    assert cohen_kappa(np.array([[0.0, 0], [1, 1], [2, 2]])) == 1
    assert cohen_kappa(np.array([[0.0, 1], [1, 0]])) == -1
    assert np.isnan(cohen_kappa(np.ones((4, 2))))
    assert np.isnan(cohen_kappa(np.array([[1, NAN]])))

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.algorithms.selection import best_above, best_of, best_of_n_estimate, best_of_n_kl

NAN = math.nan


def test_the_best_wins_and_of_equals_the_first() -> None:
    assert best_of([[0.1, 0.9, 0.5], [2.0, 2.0, 1.0], [-3.0, -2.0, -1.0]]).tolist() == [1, 0, 2]


def test_nan_never_wins() -> None:
    assert best_of([[NAN, -5.0, NAN], [NAN, -math.inf, NAN]]).tolist() == [1, 1]


def test_unfinished_wins_only_when_no_finished_sample_has_a_score() -> None:
    scores = [[9.0, 1.0, 2.0], [9.0, 1.0, 2.0], [9.0, NAN, 2.0], [3.0, -math.inf, 2.0]]
    finished = [[False, True, True], [False, False, False], [False, True, False], [False, True, False]]
    assert best_of(scores, finished).tolist() == [2, 0, 0, 1]
    assert best_of(scores).tolist() == [0, 0, 0, 0]


def test_a_prompt_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[1\]"):
        best_of([[0.0, 1.0], [NAN, NAN]])


def test_only_what_is_above_the_baseline_and_the_margin_is() -> None:
    scores = [[1.0, 3.0, 9.0], [2.0, 2.5, 0.0], [5.0, 5.0, NAN], [1.0, 1.0, 1.0]]
    usable = [[True, True, False], [True, True, True], [True, True, True], [False, False, False]]
    best, above = best_above([2.0, 2.0, 5.0, -9.0], scores, usable, 0.5)
    assert best.tolist() == [1, 1, 0, -1]
    assert above.tolist() == [True, False, False, False]  # 2.5 only reaches 2 + 0.5
    assert best_above([2.0, 2.0, 4.9, 0.0], scores, usable, 0.0)[1].tolist() == [True, True, True, False]


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=7).flatmap(
        lambda scores: st.tuples(st.just(scores), st.integers(1, len(scores)))
    )
)
def test_the_estimate_is_the_mean_over_all_subsets(case: tuple[list[float], int]) -> None:
    scores, n = case
    expected = np.mean([max(subset) for subset in itertools.combinations(scores, n)])
    assert best_of_n_estimate(scores, n) == pytest.approx(expected, abs=1e-9)


def test_the_estimate_by_hand() -> None:
    # Pairs of (0, 1, 2, 4): the best is 4 in three of six, 2 in two, 1 in one: (12 + 4 + 1) / 6.
    assert best_of_n_estimate([4.0, 0.0, 2.0, 1.0], 2) == pytest.approx(17 / 6, abs=1e-12)
    assert best_of_n_estimate([4.0, 0.0, 2.0, 1.0], 1) == pytest.approx(7 / 4, abs=1e-12)
    assert best_of_n_estimate([4.0, 0.0, 2.0, 1.0], 4) == pytest.approx(4.0, abs=1e-12)


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-10, 10)), min_size=1, max_size=7), st.data())
def test_the_estimate_of_another_value_is_that_of_what_the_scores_choose(
    samples: list[tuple[int, float]], data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(samples)))
    scores, values = [score for score, _ in samples], [value for _, value in samples]
    chosen = [
        values[subset[int(best_of([[scores[i] for i in subset]])[0])]]
        for subset in itertools.combinations(range(len(samples)), n)
    ]
    assert best_of_n_estimate(scores, n, values) == pytest.approx(np.mean(chosen), abs=1e-9)


def test_the_estimate_with_many_samples() -> None:
    # The best of n of 1..N has mean n (N + 1) / (n + 1).
    scores = np.arange(1, 5001, dtype=np.float64)
    assert best_of_n_estimate(scores, 999) == pytest.approx(999 * 5001 / 1000, rel=1e-12)


@pytest.mark.parametrize("n", [0, 3])
def test_too_few_samples_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="best of"):
        best_of_n_estimate([1.0, 2.0], n)


@pytest.mark.parametrize(
    ("n", "kl"),
    # ln n from a table, minus 1 - 1/n: ln 4 = 1.38629, ln 16 = 2.77259, ln 64 = 4.15888, ln 128 = 4.85203, ...
    [(1, 0.0), (4, 0.63629), (16, 1.83509), (64, 3.17451), (128, 3.85984), (1000, 5.90876), (60_000, 10.00212)],
)
def test_best_of_n_kl(n: int, kl: float) -> None:
    assert best_of_n_kl(n) == pytest.approx(kl, abs=1e-5)


def test_best_of_n_kl_bounds_the_kl_of_a_small_distribution() -> None:
    # One sample in two is good: best of 3 is good with probability 7/8, KL = 7/8 ln(7/4) + 1/8 ln(1/4).
    exact = 7 / 8 * math.log(7 / 4) + 1 / 8 * math.log(1 / 4)
    assert exact < best_of_n_kl(3)

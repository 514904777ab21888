from __future__ import annotations

import numpy as np
import pytest

from accord.algorithms.benchmarks import Answers, best_of, section_scores, ties_score

SECTIONS = {"Easy": ("a", "b"), "Hard": ("c",), "Absent": ("d",)}


def test_sections_by_hand() -> None:
    """a: 1 of 2, b: 3 of 4, c: 0 of 2. Weights 2 and 4: Easy (1/2 * 2 + 3/4 * 4) / 6. Overall (2/3 + 0) / 2."""
    right = [1, 0, 1, 1, 1, 0, 0, 0]
    subset = ["a"] * 2 + ["b"] * 4 + ["c"] * 2
    found = section_scores(right, subset, SECTIONS, {"a": 2, "b": 4, "c": 2}, seed=1)
    assert {name: one.value for name, one in found.items()} == {
        "Easy": pytest.approx(4 / 6),
        "Hard": 0.0,
        "overall": pytest.approx(1 / 3),
    }
    assert found["Easy"].low < 4 / 6 < found["Easy"].high
    heavier = section_scores(right, subset, SECTIONS, {"a": 4, "b": 4, "c": 2}, seed=1)
    assert heavier["Easy"].value == pytest.approx((0.5 * 4 + 0.75 * 4) / 8)


def test_a_section_of_one_subset_has_the_interval_of_a_mean() -> None:
    right = (np.random.default_rng(1).random(400) < 0.7).astype(float)
    found = section_scores(right, ["c"] * 400, SECTIONS, {"c": 400}, seed=1)["Hard"]
    half = 1.96 * right.std() / 20
    assert found.high - found.value == pytest.approx(half, rel=0.15)


def test_best_of_shares_the_first_place() -> None:
    assert best_of([2, 1, 1, 1]) == 1
    assert best_of([2, 2, 2, 1], num_chosen=2) == pytest.approx(2 / 3)
    assert best_of([0, 1, 1, 1]) == 0


def test_ties_by_hand() -> None:
    """Question 1: the right ones lie 1 apart, 3 above the wrong ones; with one right answer 2 above. All good.
    Question 2: 2 apart and 1 above; with one right answer below the wrong one by 1."""
    tied = {1: Answers([5, 4], [1, 0]), 2: Answers([4, 2], [1])}
    reference = {1: Answers([3], [1, 0]), 2: Answers([0], [1])}
    margin = (np.tanh(2 / 1 - 1) + np.tanh(-1 / 2 - 1)) / 2
    found = ties_score(reference, tied, seed=1)
    assert found.value == pytest.approx(0.3 * 1 + 0.3 / 2 + 0.2 / 2 + 0.2 / 2 + 0.01 * margin)
    assert found.low < found.value < found.high


def test_right_answers_that_score_alike_are_perfect_ties() -> None:
    """gap / spread is infinite, and its tanh 1."""
    found = ties_score({1: Answers([2], [1])}, {1: Answers([2, 2], [1])}, seed=1)
    assert found.value == pytest.approx(1.01)
    nothing = ties_score({1: Answers([1], [1])}, {1: Answers([1, 1], [1])}, seed=1)  # 0 / 0 counts 0
    assert nothing.value == 0


def test_a_question_without_its_counterpart_counts_in_the_accuracy_alone() -> None:
    found = ties_score({1: Answers([2], [1])}, {1: Answers([3, 2], [1]), 2: Answers([1, 0], [2])}, seed=1)
    margin = np.tanh(1 / 1 - 1)
    assert found.value == pytest.approx(0.3 / 2 + 0.3 + 0 + 0 + 0.01 * margin)  # gaps of 1 are not above a spread of 1

from __future__ import annotations

import numpy as np
import pytest

from accord.algorithms.statistics import wilson
from accord.algorithms.win_rates import (
    both_orders,
    first_place_share,
    flip_rate,
    mcnemar,
    mean_interval,
    win_rate_of,
)

# Four prompts, each judged in both orders: two wins, a judge who names the first place, one who ties once.
FIRST = [1.0, 1.0, 1.0, 0.5]
SECOND = [1.0, 1.0, 0.0, 0.0]


def test_a_win_needs_both_orders() -> None:
    assert both_orders(FIRST, SECOND).tolist() == [1.0, 1.0, 0.5, 0.5]
    found = win_rate_of(both_orders(FIRST, SECOND), seed=1)
    assert (found.rate.value, found.wins.value, found.ties.value, found.losses.value) == (0.75, 0.5, 0.5, 0.0)


def test_flips_and_the_first_place_by_hand() -> None:
    """Verdicts for the first place: 1 0, 1 0, 1 1, .5 1. So 5.5 of 8; two of four pairs change."""
    assert flip_rate(FIRST, SECOND, seed=1).value == 0.5
    assert first_place_share(FIRST, SECOND, seed=1).value == pytest.approx(5.5 / 8)


def test_a_judge_who_always_names_the_first_place_says_nothing() -> None:
    first, second = np.ones(50), np.zeros(50)
    found = win_rate_of(both_orders(first, second), seed=1)
    assert (found.rate.value, found.ties.value) == (0.5, 1.0)
    assert flip_rate(first, second, seed=1).value == 1.0
    bias = first_place_share(first, second, seed=1)
    assert bias.value == 1.0
    assert bias.low > 0.9


def test_what_the_judge_thinks_of_the_responses_is_no_bias_for_a_place() -> None:
    rng = np.random.default_rng(1)
    better = (rng.random(400) < 0.8).astype(float)
    bias = first_place_share(better, better, seed=1)
    assert bias.value == pytest.approx(0.5)
    noisy = [np.where(rng.random(400) < 0.2, 1 - better, better) for _ in range(2)]
    found = first_place_share(*noisy, seed=1)
    assert found.low < 0.5 < found.high
    assert flip_rate(*noisy, seed=1).value == pytest.approx(2 * 0.2 * 0.8, abs=0.06)


def test_a_bias_for_a_place_is_measured() -> None:
    """Where the judge sleeps, one time in four, the first place wins; else the verdict stays: (1 + 1/4) / 2."""
    rng = np.random.default_rng(2)
    better, asleep = (rng.random(4000) < 0.5).astype(float), rng.random(4000) < 0.25
    found = first_place_share(np.where(asleep, 1, better), np.where(asleep, 0, better), seed=1)
    assert found.low < 0.625 < found.high
    assert found.high - found.low < 0.03


def test_all_verdicts_on_a_prompt_are_drawn_together() -> None:
    verdicts = np.repeat((np.random.default_rng(3).random(40) < 0.5).astype(float), 25)
    together = mean_interval(verdicts, groups=np.arange(1000) // 25, seed=1)
    apart = mean_interval(verdicts, seed=1)
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(5, rel=0.15)


def test_ten_wins_of_ten_are_not_certain() -> None:
    found = mean_interval([1.0] * 20, groups=[i // 2 for i in range(20)], seed=1)
    assert found == wilson(10, 10)


def test_mcnemar_by_hand() -> None:
    """Eight items only the first got right, two only the second: 2 (1 + 10 + 45) / 1024."""
    first = [1] * 8 + [0] * 2 + [1] * 30 + [0] * 5
    second = [0] * 8 + [1] * 2 + [1] * 30 + [0] * 5
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (8, 2)
    assert found.p_value == pytest.approx(112 / 1024)
    assert mcnemar(second, first).p_value == pytest.approx(112 / 1024)


def test_mcnemar_where_nothing_differs() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]).p_value == 1.0
    assert mcnemar([1, 0], [0, 1]).p_value == 1.0


def test_mcnemar_is_seldom_wrong_of_equal_policies() -> None:
    rng = np.random.default_rng(5)
    p_values = [mcnemar(rng.random(100) < 0.7, rng.random(100) < 0.7).p_value for _ in range(500)]
    assert np.mean(np.array(p_values) < 0.05) < 0.06

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.algorithms.statistics import (
    bootstrap_mean,
    clustered_pair_interval,
    distinct_n,
    group_counts,
    ordered_right,
    pairwise_accuracy,
    pearson,
    percentile_interval,
    single_rater_agreement,
    split_half_reliability,
    wilson,
    win_rate,
)


def half_width_of_a_mean(values: np.ndarray, level_z: float = 1.959964) -> float:
    return level_z * float(values.std()) / math.sqrt(len(values))


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    values = np.array([1.0] * 260 + [0.0] * 140)
    interval = bootstrap_mean(values, seed=1)
    assert interval.value == pytest.approx(0.65, abs=1e-12)
    half = half_width_of_a_mean(values)  # 1.96 sqrt(0.65 * 0.35 / 400) = 0.0467
    assert interval.high - interval.value == pytest.approx(half, rel=0.12)
    assert interval.value - interval.low == pytest.approx(half, rel=0.12)
    narrower = bootstrap_mean(values, seed=1, level=0.68)
    assert narrower.high - narrower.low == pytest.approx(2 * half / 1.96, rel=0.15)


def test_bootstrap_draws_whole_groups() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=50), 20)
    groups = [f"prompt {i // 20}" for i in range(1000)]
    by_group, by_value = bootstrap_mean(values, seed=1, groups=groups), bootstrap_mean(values, seed=1)
    assert by_group.value == by_value.value
    # Twenty copies of fifty values are worth fifty: sqrt(20) times the width that independence would claim.
    ratio = (by_group.high - by_group.low) / (by_value.high - by_value.low)
    assert ratio == pytest.approx(math.sqrt(20), rel=0.1)


def test_bootstrap_of_two_groups_by_hand() -> None:
    # Groups of one 0 and three 1s. Two draws: (0, 0) has mean 0, (1, 1) mean 1, the others 3/4; chances 1/4, 1/4, 1/2.
    inner = bootstrap_mean([0.0, 1.0, 1.0, 1.0], seed=4, groups=[0, 1, 1, 1], level=0.4)
    assert (inner.value, inner.low, inner.high) == (0.75, 0.75, 0.75)
    outer = bootstrap_mean([0.0, 1.0, 1.0, 1.0], seed=4, groups=[0, 1, 1, 1], level=0.6)
    assert (outer.low, outer.high) == (0.0, 1.0)


def test_counts_of_resampled_groups_give_the_same_interval_as_the_mean() -> None:
    values = np.random.default_rng(3).normal(size=300)
    groups = [f"prompt {i // 3}" for i in range(300)]
    draws = [float(count @ values / count.sum()) for count in group_counts(groups, seed=5, num_resamples=2000)]
    found = percentile_interval(float(values.mean()), draws)
    of_mean = bootstrap_mean(values, seed=5, groups=groups)
    assert found.value == of_mean.value
    assert (found.low, found.high) == pytest.approx((of_mean.low, of_mean.high), rel=1e-12)  # sums in another order
    assert all(count[0] == count[1] == count[2] for count in group_counts(groups, seed=5, num_resamples=3))


def test_bootstrap_is_a_function_of_its_seed() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_mean(values, seed=7) == bootstrap_mean(values, seed=7)
    assert bootstrap_mean(values, seed=7) != bootstrap_mean(values, seed=8)


def test_bootstrap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean([], seed=1)


def test_pair_interval_is_that_of_the_items_behind_the_pairs() -> None:
    # Over all pairs, the mean of (x_a + x_b) / 2 is the mean of x: the pairs know no more than the items do.
    x = np.random.default_rng(3).normal(size=60)
    a, b = np.array(list(combinations(range(60), 2))).T
    correct = (x[a] + x[b]) / 2
    interval = clustered_pair_interval(correct, a, b, seed=1)
    assert interval.value == pytest.approx(x.mean(), abs=1e-12)
    assert interval.high - interval.low == pytest.approx(2 * half_width_of_a_mean(x), rel=0.12)
    naive = bootstrap_mean(correct, seed=1)  # the negative control: as if 1,770 pairs were independent
    assert naive.high - naive.low < 0.25 * (interval.high - interval.low)


def test_pair_interval_takes_any_labels_and_survives_resamples_without_a_pair() -> None:
    interval = clustered_pair_interval([1.0, 0.0], ["b", "c"], ["a", "a"], seed=1, num_resamples=300)
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)
    one_pair = clustered_pair_interval([1.0], [3], [9], seed=1, num_resamples=300)
    assert (one_pair.low, one_pair.high) == (1.0, 1.0)


def test_pair_weights_are_products_of_counts() -> None:
    # Three items, pairs ab (1) and bc (0). Of the 27 draws, those with b and a or c: {a,b} 6 draws -> 1, {b,c} 6 -> 0,
    # {a,b,c} 6 -> 1/2. So a third each: the 20th and 80th percentiles are 0 and 1, the 40th and 60th 1/2.
    outer = clustered_pair_interval([1.0, 0.0], [0, 1], [1, 2], seed=2, level=0.6)
    inner = clustered_pair_interval([1.0, 0.0], [0, 1], [1, 2], seed=2, level=0.2)
    assert (outer.low, outer.high, inner.low, inner.high) == (0.0, 1.0, 0.5, 0.5)


def test_win_rate_by_hand() -> None:
    # Prompt 1: 3 beats 1 and 2, 2 beats 1 and ties 2: 3.5 of 4. Prompt 2: all lost.
    assert win_rate([[3.0, 2.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 5.0]]).tolist() == [0.875, 0.0]
    assert win_rate([[1.0, 2.0, 3.0]], [[2.0]]).tolist() == [0.5]


def test_win_rate_does_not_count_a_missing_score_as_a_loss() -> None:
    assert np.isnan(win_rate([[math.nan, 1.0]], [[0.0]]))[0]


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=4),
    st.lists(st.integers(-3, 3), min_size=2, max_size=2),
)
def test_win_rates_of_two_sides_add_up_to_one(scores_a: list[list[int]], row_b: list[int]) -> None:
    scores_b = [row_b] * len(scores_a)
    assert (win_rate(scores_a, scores_b) + win_rate(scores_b, scores_a)).tolist() == pytest.approx([1] * len(scores_a))
    assert win_rate(scores_a, scores_a).tolist() == pytest.approx([0.5] * len(scores_a))


def test_pairwise_accuracy_by_hand() -> None:
    score_gap, label_gap = [0.5, -2.0, 0.0, 1.0, 9.0], [1.0, -0.1, 3.0, -1.0, 0.0]
    assert ordered_right(score_gap, label_gap).tolist() == [1.0, 1.0, 0.5, 0.0, 0.5]
    assert pairwise_accuracy(score_gap, label_gap) == pytest.approx(2.5 / 4, abs=1e-12)  # the tied label is left out
    with pytest.raises(ValueError, match="tie"):
        pairwise_accuracy([1.0], [0.0])


def test_single_rater_agreement_by_hand() -> None:
    # The others' means of a are 2.5, 2, 1.5 and of b 1, 1, 0: always a. Of the nine votes, 1 - 2 is wrong, 2 - 2 a tie.
    assert single_rater_agreement([[1, 2, 3], [0, 0, 2]], [(0, 1)]) == pytest.approx(7.5 / 9, abs=1e-12)
    assert single_rater_agreement([[1, 2, 3], [0, 0, 2]], [(1, 0)]) == pytest.approx(7.5 / 9, abs=1e-12)


def test_a_rater_is_judged_by_the_others_only() -> None:
    # a is the higher item only through its 6. That rater says a, the others' means say b (0 < 1); the zeros say b,
    # the others say a (3 > 1). Against means that hold every rating the 6 would agree in three of nine votes.
    assert single_rater_agreement([[0, 0, 6], [1, 1, 1]], [(0, 1)]) == 0.0


def test_single_rater_agreement_of_unequal_numbers_of_raters() -> None:
    assert single_rater_agreement([[2, 2], [1, 1, 1]], [(0, 1)]) == 1.0


def test_single_rater_agreement_ties_and_threshold() -> None:
    # Equal others' means (leaving out 0 and 0, or 2 and 2) count one half; the other two of four votes are wrong.
    assert single_rater_agreement([[0, 2], [0, 2]], [(0, 1)]) == pytest.approx(0.25, abs=1e-12)
    ratings = [[3, 3], [0, 0], [0, 2]]
    assert single_rater_agreement(ratings, [(0, 1), (1, 2)], threshold=2.0) == 1.0
    with pytest.raises(ValueError, match="differ by 5"):
        single_rater_agreement(ratings, [(0, 1)], threshold=5)
    with pytest.raises(ValueError, match="two raters"):
        single_rater_agreement([[1], [0, 2]], [(0, 1)])


def test_split_half_reliability_by_hand() -> None:
    # Two raters, who differ on the last item only: the halves are (0, 1, 2) and (0, 1, 5) in any order of raters,
    # r = 5 / sqrt(2 * 14), and 2 r / (1 + r) = 0.971676.
    r = 5 / math.sqrt(28)
    value = split_half_reliability([[0, 0], [1, 1], [2, 5]], seed=1)
    assert value == pytest.approx(2 * r / (1 + r), abs=1e-12)
    assert value == pytest.approx(0.971676, abs=1e-6)


def test_split_half_reliability_of_a_known_population() -> None:
    # Items of variance 1, raters' noise of variance 4, ten raters: reliability 1 / (1 + 4 / 10).
    rng = np.random.default_rng(5)
    ratings = rng.normal(size=(2000, 1)) + 2 * rng.normal(size=(2000, 10))
    assert split_half_reliability(ratings.tolist(), seed=1, num_splits=20) == pytest.approx(1 / 1.4, abs=0.03)
    # Noise alone: none. Sorted, since the raters of a split must not depend on the order in which ratings are listed.
    noise = np.sort(rng.normal(size=(2000, 10)), axis=1)
    assert abs(split_half_reliability(noise.tolist(), seed=1, num_splits=20)) < 0.1


def test_split_half_reliability_takes_items_of_unequal_numbers_of_raters() -> None:
    ratings = [[float(i)] * (2 + i % 3) for i in range(12)]
    assert split_half_reliability(ratings, seed=1) == pytest.approx(1.0, abs=1e-12)


def test_pearson() -> None:
    assert pearson([0.0, 1.0, 2.0], [0.0, 1.0, 5.0]) == pytest.approx(5 / math.sqrt(28), abs=1e-12)
    assert pearson([1.0, 2.0], [5.0, 3.0]) == pytest.approx(-1.0, abs=1e-12)
    assert math.isnan(pearson([1.0, 1.0], [0.0, 1.0]))


def test_distinct_n() -> None:
    tokens = [[1, 2, 1, 2], [1, 2], [7]]  # bigrams 12, 21, 12 and 12
    assert distinct_n(tokens, 2) == 0.5
    assert distinct_n(tokens, 1) == pytest.approx(3 / 7, abs=1e-12)
    assert distinct_n([["a"], []], 2) == 0.0


def test_wilson_interval_by_hand() -> None:
    # k = 5, n = 10, z^2 = 3.8415: 0.5 -+ 1.96 sqrt(0.025 + 0.009604) / 1.38415.
    half = wilson(5, 10)
    assert half.value == 0.5
    assert (half.low, half.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    none = wilson(0, 10)
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.27753, abs=1e-5)
    assert wilson(10, 10).low == pytest.approx(1 - none.high)


def test_wilson_interval_of_nothing_is_everything() -> None:
    unknown = wilson(0, 0)
    assert np.isnan(unknown.value)
    assert (unknown.low, unknown.high) == (0.0, 1.0)

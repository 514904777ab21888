from __future__ import annotations

import pytest

from bench.speed.tables import Spread, cost, lines, peak_share, step_seconds, table

FAST = {"seconds": [1.0, 3.0, 2.0], "peak_bytes": 2**30, "gflops": [90.0, 110.0]}
SLOW = {"seconds": [4.0, 8.0, 6.0], "peak_bytes": 3 * 2**30, "gflops": [100.0, 100.0], "phases": {"sampling": [1.0]}}
MATERIAL = {"num_tokens": 100, "training_flops": 50e9}


def test_a_step_is_the_median_of_passes_that_are_means_of_their_steps():
    assert step_seconds({"seconds": [5.0, 1.0, 2.0]}) == 2.0
    # passes of 2 steps: means 2, 4 and 9
    assert step_seconds({"seconds": [1.0, 3.0, 2.0, 6.0, 9.0, 9.0]}, 2) == 4.0


def test_what_writes_costs_seconds_a_token():
    # 2/10 and 3/10 and 9/30: the median is 0.3
    assert cost({"seconds": [2.0, 3.0, 9.0], "tokens": [10, 10, 30]}) == pytest.approx(0.3)


def test_ratios_are_taken_round_by_round():
    rounds = [
        {"material": MATERIAL, "results": {"accord": FAST, "other": SLOW}},  # 6 / 2 = 3
        {"material": MATERIAL, "results": {"accord": {**FAST, "seconds": [4.0]}, "other": SLOW}},  # 6 / 4 = 1.5
        {"material": MATERIAL, "results": {"accord": {**FAST, "seconds": [1.0]}, "other": SLOW}},  # 6 / 1 = 6
    ]
    first, other = lines(rounds, "accord")
    assert first.ratio is None
    assert other.ratio == Spread(3.0, 1.5, 6.0)
    assert other.seconds == Spread(6.0, 6.0, 6.0)
    assert first.seconds == Spread(2.0, 1.0, 4.0)
    assert other.memory_ratio == 3.0
    assert first.tokens == 50.0  # a second: 100 / 2, the median of 50, 25 and 100
    assert other.phases == {"sampling": 1.0}


def test_the_share_of_the_peak_is_of_the_mean_rate_before_and_after():
    # 50 GFLOP in 2 s are 25 of 100 GFLOP/s
    assert peak_share(FAST, 50e9, 2.0) == pytest.approx(0.25)
    assert peak_share({"seconds": [1.0]}, 50e9, 2.0) is None
    assert peak_share(FAST, 0.0, 2.0) is None


def test_an_epoch_of_several_steps_shares_its_tokens_and_flops_among_them():
    [line] = lines([{"material": MATERIAL, "results": {"accord": {**FAST, "seconds": [1.0, 3.0]}}}], "accord", 2)
    assert line.seconds.median == 2.0
    assert line.tokens == 25.0  # 50 a step of 2 s
    assert line.share is not None
    assert line.share.median == pytest.approx(0.125)


def test_a_round_in_which_one_failed_is_left_out_of_its_line():
    rounds = [
        {"material": MATERIAL, "results": {"accord": FAST, "other": {"failed": "exit code 1"}}},
        {"material": MATERIAL, "results": {"accord": FAST}},
    ]
    assert [line.contestant for line in lines(rounds, "accord")] == ["accord"]


def test_the_table_has_a_row_for_each():
    text = table(lines([{"material": MATERIAL, "results": {"accord": FAST, "other": SLOW}}], "accord"), "accord")
    head, _, *rows = text.splitlines()
    assert "time / accord" in head
    assert [row.split("|")[1].strip() for row in rows] == ["accord", "other"]
    assert "3.00 (3.00 to 3.00)" in rows[1]
    assert "25 %" in rows[0]

"""What is done about an alarm, decided by hand."""

from __future__ import annotations

import math

import pytest

from accord.monitor.reactions import Actions, Decision, acting, action_of, decide

# The score rises by 0.1 an iteration; gold is 0.5, 0.6, 0.7, 0.72, then falls by 0.04: the best window of three is that
# of the third to the fifth, 0.70, and the last three have 0.56.
GOLD = [0.50, 0.60, 0.70, 0.72, 0.68, 0.64, 0.60, 0.56, 0.52]
OVER = [{"iteration": i, "objective/scores": 0.1 * i, "watch/gold": gold} for i, gold in enumerate(GOLD, start=1)]
SPIKE = [{"iteration": i, "objective/kl": kl} for i, kl in enumerate([1.0, 1.0, 1.0, 1.0, 20.0], start=1)]


def decided(rows: list[dict[str, float]], actions: Actions) -> tuple[str, str] | None:
    found = decide(rows, actions)
    return None if found is None else (found.action, found.alarm.name)


def test_a_warning_ends_nothing() -> None:
    assert decide(OVER, "warn") is None
    assert decide(OVER, {}) is None
    assert decide(OVER, {"kl_spike": "stop"}) is None
    assert decide(OVER, {"overoptimisation": "warn"}) is None


@pytest.mark.parametrize("action", ["stop", "rollback"])
def test_what_is_asked_for_is_done(action: str) -> None:
    assert decided(OVER, {"overoptimisation": action}) == (action, "overoptimisation")  # type: ignore[dict-item]
    assert decided(SPIKE, {"kl_spike": action}) == (action, "kl_spike")  # type: ignore[dict-item]
    assert decided(OVER, action) == (action, "overoptimisation")  # type: ignore[arg-type]


def test_it_ends_with_the_row_that_gives_cause_and_not_before() -> None:
    """Windows of two: in seven rows the best is 0.71 and the last 0.62; the squares of the differences, 0.1, 0.1, 0.02
    and three times 0.04, add up to 0.0252, so that an error is sqrt(0.0252 / 12) = 0.0458, and 2.5 of them are 0.115,
    more than 0.09. In eight the last is 0.58, an error sqrt(0.0268 / 14) = 0.0438: 0.13 against 0.109."""
    asked = [decided(OVER[:num], {"overoptimisation": "stop"}) for num in range(1, 10)]
    assert asked == [None] * 7 + [("stop", "overoptimisation")] * 2


def test_rollback_goes_before_stop() -> None:
    rows = [{**row, **spike} for row, spike in zip(OVER, SPIKE + [{}] * 4, strict=True)]
    rows = [{**row, "iteration": i} for i, row in enumerate(rows, start=1)]
    assert decided(rows, {"overoptimisation": "stop", "kl_spike": "rollback"}) == ("rollback", "kl_spike")
    assert decided(rows, {"overoptimisation": "rollback", "kl_spike": "stop"}) == ("rollback", "overoptimisation")
    assert decided(rows, "stop") == ("stop", "overoptimisation"), "of equal ones the first of the list"


def test_what_another_alarm_says_the_why_of_ends_it_nevertheless() -> None:
    """`paid_by_length`, of which is only warned, makes `length_jump` silent on a page, and not here."""
    rows = [
        {"iteration": i, "response/mean_tokens": 10.0 * i, "response/score_length": 0.9, "objective/kl": 0.1}
        for i in range(1, 7)
    ]
    assert [alarm.name for alarm in acting(rows)] == ["paid_by_length"]
    assert decided(rows, {"length_jump": "stop"}) == ("stop", "length_jump")


def test_what_is_broken_goes_before_a_stop() -> None:
    rows = [*SPIKE[:-1], {**SPIKE[-1], "loss": math.nan}]
    assert decided(rows, {"kl_spike": "stop"}) == ("error", "not_finite")


def test_alarms_that_compare_rows_wait_for_four() -> None:
    rows = [{"iteration": i, "response/finished": 0.0, "objective/scores": float(i)} for i in range(1, 5)]
    assert [decided(rows[:num], "stop") for num in range(1, 5)] == [None, None, None, ("stop", "unfinished")]
    below = [{"iteration": 1, "objective/kl": -3.0}]
    assert decided(below, "stop") == ("stop", "negative_kl"), "a single row is cause enough"
    assert [alarm.name for alarm in acting(rows[:3])] == []


def test_a_value_model_has_time_to_learn() -> None:
    rows = [{"iteration": i, "value/explained_variance": -0.5} for i in range(1, 13)]
    assert decided(rows[:11], "stop") is None
    assert decided(rows, "stop") == ("stop", "useless_value")
    rising = [{**row, "value/explained_variance": -0.5 + 0.01 * i} for i, row in enumerate(rows)]
    assert decided(rising, "stop") is None, "as long as it learns"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["loss", "eval_loss", "objective/scores", "objective/kl", "loss/policy_avg"])
def test_what_is_no_number_ends_it_always(key: str, value: float) -> None:
    rows = [{"iteration": 1, key: 0.5}, {"iteration": 2, key: value}]
    for actions in ("warn", "stop", {}, {"not_finite": "stop"}):
        assert decided(rows, actions) == ("error", "not_finite")  # type: ignore[arg-type]
    assert decided(rows, {"not_finite": "rollback"}) == ("rollback", "not_finite")
    assert decided(rows, "rollback") == ("rollback", "not_finite")
    assert decide(rows[:1], "rollback") is None


def test_numbers_that_nothing_depends_on_may_be_infinite() -> None:
    assert decide([{"iteration": 1, "grad_norm": math.inf, "sampler/mean_ratio": math.inf}], "stop") is None


def test_it_is_a_function_of_the_rows_alone() -> None:
    first, second = decide(OVER, "stop"), decide([dict(row) for row in OVER], "stop")
    assert first == second
    assert isinstance(first, Decision)
    assert action_of("rollback", "endless") == "rollback"

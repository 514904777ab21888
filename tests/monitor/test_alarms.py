"""Alarms, on series made by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from accord.monitor.alarms import Alarm, alarms, as_json, displacement
from accord.monitor.report import build_report
from accord.monitor.views import RunView, StepView

FALLING = [-20.0, -21.0, -22.0, -23.0, -24.0, -25.0, -26.0, -27.0, -28.0]
RISING = [-28.0, -27.0, -26.0, -25.0, -24.0, -23.0, -22.0, -21.0, -20.0]
BETTER_THEN_WORSE = [0.50, 0.60, 0.70, 0.72, 0.68, 0.64, 0.60, 0.56, 0.52]
BETTER = [0.50, 0.55, 0.60, 0.62, 0.64, 0.66, 0.67, 0.68, 0.68]
NOISY = [0.60, 0.64, 0.58, 0.63, 0.59, 0.64, 0.60, 0.62, 0.59]


def rows_of(series: dict[str, list[Any]]) -> list[dict[str, Any]]:
    columns = zip(*series.values(), strict=True)
    return [{"iteration": i, **dict(zip(series, row, strict=True))} for i, row in enumerate(columns, start=1)]


def only(found: list[Alarm], name: str) -> Alarm:
    (alarm,) = found
    assert alarm.name == name
    return alarm


def test_chosen_and_held_out_accuracy_fall() -> None:
    alarm = displacement(rows_of({"eval_logps/chosen": FALLING, "eval_rewards/accuracies": BETTER_THEN_WORSE}))
    assert alarm is not None
    # Windows of three. Chosen: -21 to -27. Accuracy: the best is 0.70, 0.72, 0.68, 3rd to 5th; the last 0.56.
    assert alarm.what.startswith("the log-probability of chosen responses fell from -21.0 to -27.0")
    assert "the held-out accuracy from 0.70 to 0.56" in alarm.what
    assert alarm.since == 6  # after the best window


@pytest.mark.parametrize("quality", [BETTER, NOISY, [0.6] * 9])
def test_both_log_probabilities_fall_and_quality_does_not(quality: list[float]) -> None:
    """This is how direct preference optimisation goes, and no alarm."""
    measured = {"eval_logps/chosen": FALLING, "eval_logps/rejected": [2 * x for x in FALLING]}
    assert displacement(rows_of(measured | {"eval_rewards/accuracies": quality})) is None


def test_quality_falls_and_chosen_does_not() -> None:
    series = {"eval_logps/chosen": RISING, "eval_rewards/accuracies": BETTER_THEN_WORSE}
    assert displacement(rows_of(series)) is None


def test_without_a_measure_of_quality_there_is_no_alarm() -> None:
    assert displacement(rows_of({"logps/chosen": FALLING})) is None
    too_few = {"eval_logps/chosen": FALLING[:3], "eval_rewards/accuracies": [0.8, 0.5, 0.1]}
    assert displacement(rows_of(too_few)) is None


def test_the_order_of_the_measures_of_quality() -> None:
    worse, better = BETTER_THEN_WORSE, BETTER
    chosen: dict[str, list[Any]] = {"logps/chosen": FALLING}
    alarm = displacement(rows_of(chosen | {"watch/gold": worse, "eval_rewards/accuracies": better}))
    assert alarm is not None
    assert "the score of gold, which only watches, from 0.70" in alarm.what
    assert displacement(rows_of(chosen | {"watch/gold": better, "eval_rewards/accuracies": worse})) is None
    assert displacement(rows_of(chosen | {"watch/a": better, "watch/b": worse})) is not None
    alarm = displacement(rows_of(chosen | {"eval_rewards/margins": worse}))
    assert alarm is not None
    assert "the held-out margin from 0.70" in alarm.what
    assert displacement(rows_of(chosen | {"eval_rewards/accuracies": better, "eval_rewards/margins": worse})) is None


def test_a_quality_that_is_measured_now_and_then() -> None:
    series: dict[str, list[Any]] = {
        "logps/chosen": [x - 0.1 * i for x in FALLING for i in range(2)],
        "eval_rewards/accuracies": [x for pair in zip([None] * 9, BETTER_THEN_WORSE, strict=True) for x in pair],
    }
    alarm = displacement(rows_of(series))
    assert alarm is not None
    assert alarm.since == 12  # the sixth measurement is in the row 12


def test_the_policys_own_samples_are_others_each_time() -> None:
    series = {"logps/chosen": FALLING, "eval_rewards/accuracies": BETTER_THEN_WORSE, "objective/scores": [0.0] * 9}
    assert displacement(rows_of(series)) is None


def test_the_score_rises_while_a_watching_one_falls() -> None:
    scores = [0.1 * i for i in range(9)]
    alarm = only(alarms(rows_of({"objective/scores": scores, "watch/gold": BETTER_THEN_WORSE})), "overoptimisation")
    # the first three are 0, 0.1, 0.2 and the last 0.6, 0.7, 0.8
    assert alarm.what.startswith("the score rose from 0.10 to 0.70, while the score of gold, which only watches, fell")
    assert "from 0.70 to 0.56" in alarm.what
    assert alarm.since == 6
    assert alarms(rows_of({"objective/scores": scores, "spread/judges": BETTER_THEN_WORSE})) == [], "no score"
    assert alarms(rows_of({"objective/scores": scores, "watch/gold": BETTER})) == []
    assert alarms(rows_of({"objective/scores": scores[::-1], "watch/gold": BETTER_THEN_WORSE})) == []


def test_a_kl_that_is_negative() -> None:
    alarm = only(alarms(rows_of({"objective/kl": [0.1, -0.4, -0.6, -0.2, -1.25]})), "negative_kl")
    assert alarm.what.startswith("the KL was negative in 2 iterations, -1.2 nats per sequence at the lowest")
    assert alarm.since == 3
    assert alarms(rows_of({"objective/kl": [-0.5, 3.0]})) == []


def test_a_first_ratio_that_is_not_one() -> None:
    alarm = only(alarms(rows_of({"policy/first_ratio": [1.0, 1.00001, 0.98]})), "first_ratio")
    assert alarm.what.startswith("the first ratio was not 1 in 1 iteration (0.9800 in the first of them)")
    assert alarm.since == 3


def test_responses_that_no_longer_end() -> None:
    alarm = only(alarms(rows_of({"response/finished": [0.9, 0.9, 0.9, 0.5, 0.4, 0.3, 0.1, 0.1, 0.1]})), "endless")
    assert "fell from 90 % to 10 %" in alarm.what
    assert alarm.since == 5  # from there on all are below 0.45
    assert alarms(rows_of({"response/finished": [0.9, 0.8, 0.5]})) == []
    assert alarms(rows_of({"response/finished": [0.19, 0.1, 0.06]})) == []  # there was nothing to unlearn
    only(alarms(rows_of({"response/finished": [0.2, 0.1, 0.0]})), "endless")


def test_entropy_and_repetition() -> None:
    alarm = only(alarms(rows_of({"objective/entropy": [3.0, 1.0, 0.5]})), "entropy_collapse")
    assert "from 3.00 to 0.50 nats per token" in alarm.what
    assert alarms(rows_of({"objective/entropy": [3.0, 1.0, 0.7]})) == []
    alarm = only(alarms(rows_of({"response/distinct_2": [0.8, 0.9, 0.3]})), "repetition")
    assert alarm.what == "distinct-2 fell from 0.80 to 0.30: the responses repeat one another."
    assert alarm.since == 3


def test_a_jump_of_the_length_either_way() -> None:
    alarm = only(alarms(rows_of({"response/mean_tokens": [10, 21, 25]})), "length_jump")
    assert alarm.what == "the mean length grew from 10.0 to 25.0 tokens."
    assert alarm.since == 2
    alarm = only(alarms(rows_of({"response/mean_tokens": [10, 9, 4]})), "length_jump")
    assert alarm.what == "the mean length shrank from 10.0 to 4.0 tokens."
    assert alarms(rows_of({"response/mean_tokens": [10, 11, 19]})) == []


def test_what_was_not_measured_gives_no_alarm() -> None:
    no_number = rows_of({"objective/entropy": [None, math.nan, "x"]})
    for nothing in ([], [{}], no_number, rows_of({"response/finished": [0.5]})):
        assert alarms(nothing) == []


def test_the_report_of_any_training_shows_them() -> None:
    rows = rows_of({"eval_logps/chosen": FALLING, "eval_rewards/accuracies": BETTER_THEN_WORSE})
    step = StepView("tune", "dpo", 1.0, False, "a" * 64, {}, rows)
    page = build_report(RunView("r", "", [step], {}, [], "", {}))
    assert "tune, from 6 on: the log-probability of chosen responses fell from -21.0 to -27.0" in page


def test_the_report_shows_what_the_step_alone_could_tell_and_nothing_twice() -> None:
    rows = rows_of({"eval_logps/chosen": FALLING, "eval_rewards/accuracies": BETTER_THEN_WORSE})
    own = Alarm("no_safety_prompt", "no prompt was a safety prompt", 1)
    summary = {"alarms": as_json([*alarms(rows), own])}
    page = build_report(
        RunView("r", "", [StepView("tune", "dpo", 1.0, False, "a" * 64, {}, rows, summary=summary)], {}, [], "", {})
    )
    assert "tune: no prompt was a safety prompt." in page
    assert page.count("tune, from 6 on: the log-probability of chosen responses fell") == 1
    assert "tune: the log-probability of chosen responses fell" not in page


def test_as_json() -> None:
    found = as_json([Alarm("repetition", "so it is", 3)])
    assert json.loads(json.dumps(found)) == [{"name": "repetition", "what": "so it is", "since": 3}]

"""Alarms of a policy that hears nothing from its reward, on series made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from accord.monitor.alarms import Alarm, alarms
from accord.monitor.windows import Move, lasting
from tests.monitor.test_alarms import only, rows_of

CUT = {"response/finished": [0.0], "response/own_score": [0.0]}
TIED = {"pairs/num": [0.0], "frac_reward_zero_std": [1.0], "policy/num_updates": [0.0]}


def names(found: list[Alarm]) -> list[str]:
    return [alarm.name for alarm in found]


def low(value: float) -> bool:
    return value < 1


def test_a_level_is_that_of_the_last_third_or_of_a_short_run() -> None:
    """Of nine measurements the windows are of three: 3 at the start, 0.5 at the end, and lower from the sixth on."""
    series = list(enumerate([3.0, 5.0, 1.0, 0.0, 2.0, 0.5, 0.5, 1.0, 0.0], start=1))
    assert lasting(series, low) == Move(3.0, 0.5, 6)  # the eighth is not low itself, its window is
    assert lasting([(1, 3.0), (2, 0.5), (3, 0.25), (4, 0.0)], low) == Move(1.25, 0.25, 2), "three values at least"
    assert lasting([(1, 3.0), (2, 0.0)], low) is None, "one window, of mean 1.5"
    assert lasting([(1, 1.5), (2, 0.0)], low) == Move(0.75, 0.75, 1)
    assert lasting([(7, 0.5)], low) == Move(0.5, 0.5, 7)
    assert lasting([], low) is None


def test_responses_that_hardly_ever_ended() -> None:
    """Of windows of two: the last has (0.06 + 0.02) / 2 = 0.04."""
    finished = {"response/finished": [0.1, 0.2, 0.1, 0.04, 0.06, 0.02]}
    alarm = only(alarms(rows_of(finished)), "unfinished")
    assert alarm.what.startswith("almost no response is finished: 4 % at the end.")
    assert "Raise max_response_tokens" in alarm.what
    assert alarm.since == 4  # from there on all but one, whose window is
    assert alarms(rows_of({"response/finished": [0.0, 0.0, 0.0, 0.0, 0.1, 0.05]})) == []


def test_in_a_run_of_one_iteration_too() -> None:
    alarm = only(alarms(rows_of(CUT)), "unfinished")
    assert alarm.since == 1
    assert "share one score (truncation_score) or are masked, whatever they say" in alarm.what
    assert alarms(rows_of({"response/finished": [0.05], "response/own_score": [0.05]})) == []


def test_unfinished_responses_with_scores_of_their_own_are_no_alarm() -> None:
    """truncation_score: null, whatever is done to the scores after that."""
    own = {"response/finished": [0.0] * 6, "response/own_score": [1.0] * 6}
    scores = {"objective/scores": [1.0, 2.0] * 3, "objective/shaped_scores": [0.0] * 6}
    assert alarms(rows_of(own | scores)) == []


def test_where_all_are_masked_it_is_said_once() -> None:
    masked = CUT | {"policy/num_updates": [0.0], "frac_reward_zero_std": [1.0]}
    alarm = only(alarms(rows_of(masked)), "no_updates")
    assert alarm.what.startswith("no response is finished, and mask_truncated leaves out all others")


@pytest.mark.parametrize("kind", ["frac_reward_zero_std", "pairs/num"])
def test_equal_scores_of_cut_off_responses_are_said_once(kind: str) -> None:
    """The advice is of the cut, and not to raise num_samples."""
    measured = CUT | ({"frac_reward_zero_std": [1.0], "policy/num_updates": [2.0]} if kind[0] == "f" else TIED)
    assert "num_samples" not in only(alarms(rows_of(measured)), "unfinished").what


def test_no_pairs() -> None:
    alarm = only(alarms(rows_of({"pairs/num": [3, 0, 1, 0, 0, 0]})), "no_pairs")
    assert alarm.what.startswith("no two samples of a prompt differ in score")
    assert alarm.since == 4
    assert alarms(rows_of({"pairs/num": [0, 0, 0, 0, 0, 1]})) == []
    assert only(alarms(rows_of(TIED)), "no_pairs").since == 1


def test_no_pairs_of_scores_that_differ_too_little() -> None:
    alarm = only(alarms(rows_of(TIED | {"frac_reward_zero_std": [0.25]})), "no_pairs")
    assert "differ by less than tie_below, or the samples are equal" in alarm.what
    assert alarm.what.endswith("Lower tie_below, or raise the temperature.")


def test_prompts_whose_scores_are_all_equal() -> None:
    """Of the last three: (0.85 + 1 + 0.8) / 3 = 0.883."""
    rows = rows_of({"frac_reward_zero_std": [0.2, 0.1, 0.9, 0.85, 1.0, 0.8]})
    alarm = only(alarms(rows), "equal_scores")
    assert alarm.what.startswith(
        "all responses to a prompt have one score with 88 % of the prompts at the end, from which nothing is learned. "
    )
    assert alarm.since == 3  # the last is below the limit; its window is not
    assert alarms(rows_of({"frac_reward_zero_std": [0.8]})) == []
    assert alarms(rows_of({"frac_reward_zero_std": [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]})) == []
    only(alarms(rows_of({"frac_reward_zero_std": [1.0]})), "equal_scores")
    assert alarms(rows_of({"frac_reward_zero_std": [0.9, 0.85]})) == [], "few successes, at the start"


def test_prompts_that_are_solved_are_no_alarm() -> None:
    """Rewards of 0 and 1, two samples: at 0.95 they tie in 0.95^2 + 0.05^2 = 0.905 of the cases."""
    shares, scores = [0.5, 0.5, 0.6, 0.9, 0.905, 0.905], [0.5, 0.5, 0.7, 0.94, 0.95, 0.95]
    assert alarms(rows_of({"frac_reward_zero_std": shares, "objective/scores": scores})) == []
    only(alarms(rows_of({"frac_reward_zero_std": shares, "objective/scores": scores[::-1]})), "equal_scores")
    only(alarms(rows_of({"frac_reward_zero_std": [0.9] * 6, "objective/scores": scores})), "equal_scores")


def test_one_iteration_without_a_pair_is_no_alarm() -> None:
    assert alarms(rows_of({"pairs/num": [9.0, 7.0, 5.0, 4.0, 0.0]})) == []


CAUSES: dict[str, tuple[dict[str, list[Any]], str]] = {
    "cut off": (
        {"response/own_score": [0.25, 0.25]},
        "75 % of the responses are cut off and share one score (truncation_score), or are masked: raise max_res",
    ),
    # 0.05 nats a token, 12 tokens: 0.6 nats a response
    "equal": ({"objective/entropy": [0.05] * 2, "response/mean_tokens": [12.0] * 2}, "hardly differ: raise the temper"),
    "constant": ({"objective/scores": [1.5, 1.5]}, "The mean score was 1.50 in every iteration: look at whether"),
    "unknown": ({"objective/scores": [1.5, 2.5]}, "Look at the reward, which may say one number of all; take prompts"),
    "one row": ({"objective/scores": [None, 1.5]}, "Look at the reward, which may say one number of all"),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_the_advice_is_of_the_cause(cause: str) -> None:
    """The others are there, too, and not to blame."""
    innocent = {
        "response/own_score": [0.5, 0.5],
        "objective/entropy": [0.1, 0.1],
        "response/mean_tokens": [12.0, 12.0],
        "objective/scores": [1.0, 2.0],
    }
    measured, advice = CAUSES[cause]
    for tied in ({"frac_reward_zero_std": [1.0, 1.0]}, {"pairs/num": [0, 0]}):
        (alarm,) = alarms(rows_of(innocent | tied | measured))
        assert advice in alarm.what


def test_a_policy_that_never_takes_a_step() -> None:
    alarm = only(alarms(rows_of({"policy/num_updates": [2, 1, 0, 0, 0, 0]})), "no_updates")
    assert alarm.what.startswith("no response is finished, and mask_truncated leaves out all others")
    assert alarm.since == 3
    warming = {"policy/num_updates": [0.0, 0.0], "phase": [0.0, 0.0]}
    assert alarms(rows_of(warming)) == [], "a warm-up of the value model, while it lasts"
    both = {"policy/num_updates": [0.0, 0.0, 0.0], "phase": [0.0, 0.0, 1.0]}
    assert only(alarms(rows_of(both)), "no_updates").since == 3


def test_chosen_responses_that_are_cut_off() -> None:
    alarm = only(alarms(rows_of({"chosen/finished": [0.4]})), "chosen_cut_off")
    assert alarm.what.startswith("60 % of the chosen responses are cut off, as no other sample of their prompts is fin")
    assert alarms(rows_of({"chosen/finished": [0.5]})) == []


def test_a_fall_says_why_there_are_no_pairs() -> None:
    finished = [0.9, 0.9, 0.9, 0.5, 0.0, 0.0]
    rows = rows_of({"response/finished": finished, "response/own_score": finished, "pairs/num": [9, 9, 9, 5, 0, 0]})
    assert names(alarms(rows)) == ["endless"]

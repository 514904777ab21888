"""What the metrics of PPO say is not well."""

from __future__ import annotations

import math
from typing import Any

from accord.monitor import health
from accord.monitor.health import Note, said


def rows(key: str, *values: Any) -> list[dict[str, Any]]:
    return [{"iteration": i, key: value} for i, value in enumerate(values, start=1)]


def cautions(name: str, rows: list[dict[str, Any]]) -> list[str]:
    return said(health.cautions(name, rows))


def shifts(name: str, rows: list[dict[str, Any]]) -> list[str]:
    return said(health.shifts(name, rows))


def test_cut_off_responses() -> None:
    (line,) = cautions("ppo", rows("response/finished", 0.0, 0.0, 0.0))
    assert line.startswith("ppo, from 1 on: almost no response is finished: 0 % at the end.")
    both = [{"iteration": 1, "response/finished": 0.0, "response/own_score": 1.0}]  # scored as they are: no alarm
    assert cautions("ppo", both) == ["ppo: every response was cut off at max_response_tokens; none ended by itself."]
    (line,) = cautions("ppo", rows("response/finished", 0.5, 0.5, 0.5, 0.5, 0.5, 0.25))  # the last two: 0.375
    assert line.startswith("ppo: 62 % of the responses were cut off")
    assert cautions("ppo", rows("response/finished", 0.0, 0.2, 0.6)) == []


def test_a_value_model_that_has_learned_nothing() -> None:
    (line,) = cautions("ppo", rows("value/explained_variance", -39.0, -25.0, -18.0))
    assert "the explained variance was -18.00 at the end, below 0" in line
    assert cautions("ppo", rows("value/explained_variance", -39.0, -25.0, 0.2)) == []


def test_clipping() -> None:
    assert "31 % of the updates were clipped" in cautions("ppo", rows("policy/clipfrac_avg", 0.31))[0]
    assert cautions("ppo", rows("policy/clipfrac_avg", 0.3)) == []


def test_alarms_stand_first_and_are_not_said_again() -> None:
    (line,) = cautions("ppo", rows("objective/kl", 0.1, -0.6))
    assert line.startswith("ppo, from 2 on: the KL was negative in 1 iteration")
    (line,) = cautions("ppo", rows("response/finished", 0.9, 0.9, 0.2))
    assert line.startswith("ppo, from 3 on: the share of finished responses fell")
    assert shifts("ppo", rows("response/mean_tokens", 10, 20, 21)) == []  # a jump, which is an alarm


def test_what_an_alarm_says_at_length_is_not_said_again_in_other_words() -> None:
    (line,) = cautions("ppo", rows("value/explained_variance", *[-0.5] * 9))
    assert line.startswith("ppo, from 1 on: the value model explains -50 % of the variance")
    (line,) = cautions("ppo", rows("policy/clipfrac_avg", *[0.5] * 9))
    assert line.startswith("ppo, from 1 on: 50 % of the tokens are clipped")


def test_shifts_from_the_first_iteration_to_the_last() -> None:
    assert shifts("ppo", rows("response/distinct_2", 0.9, 0.9, 0.5)) == ["ppo: distinct-2 fell from 0.90 to 0.50."]
    assert shifts("ppo", rows("response/mean_tokens", 10, 12, 13)) == [
        "ppo: mean length in tokens rose from 10.0 to 13.0."
    ]
    assert shifts("ppo", rows("response/mean_tokens", 10, 12, 12)) == []


def test_what_was_not_measured_is_not_judged() -> None:
    for nothing in ([], [{}], rows("response/finished", None, math.nan), rows("response/mean_tokens", 0, 5)):
        assert cautions("ppo", nothing) == []
        assert shifts("ppo", nothing) == []


def test_what_several_steps_share_is_said_once() -> None:
    cut = rows("response/finished", 0.0, 0.0, 0.0)
    alike = [note for name in ("rloo", "grpo") for note in health.cautions(name, cut)]
    (line,) = said(alike)
    assert line.startswith("rloo, grpo, from 1 on: almost no response is finished: 0 % at the end.")
    (line,) = said([*alike, Note("unfinished", "ppo<b>", "almost no response is finished: 4 % at the end.", 5)])
    assert line.startswith("rloo, from 1 on: almost no response is finished: 0 % at the end.")
    assert line.endswith(" Likewise, with other numbers: grpo, from 1 on; ppo<b>, from 5 on.")
    other = Note("cut", "dpo", "none ended.")
    assert said([*alike, other])[1] == "dpo: none ended.", "another sentence is a line of its own"
    assert said([]) == []

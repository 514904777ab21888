"""Alarms of a policy that is led astray, on series made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from accord.monitor.alarms import Alarm, alarms

FALLING = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
LEVEL = [0.5, 0.52, 0.49, 0.5, 0.51, 0.5, 0.49, 0.52, 0.5]


def rows_of(series: dict[str, list[Any]]) -> list[dict[str, Any]]:
    columns = zip(*series.values(), strict=True)
    return [{"iteration": i, **dict(zip(series, row, strict=True))} for i, row in enumerate(columns, start=1)]


def of(name: str, **series: list[Any]) -> Alarm | None:
    keys = {key.replace("__", "/"): values for key, values in series.items()}
    return next((alarm for alarm in alarms(rows_of(keys)) if alarm.name == name), None)


def test_the_score_that_is_trained_on_falls() -> None:
    kl = [0.0] * 9
    alarm = of("wrong_way", objective__shaped_scores=FALLING, objective__kl=kl)
    assert alarm is not None
    assert alarm.what.startswith("the score that is trained on fell from 0.80 to 0.20")
    assert alarm.since == 4
    assert of("wrong_way", objective__shaped_scores=FALLING[::-1], objective__kl=kl) is None
    assert of("wrong_way", objective__shaped_scores=LEVEL, objective__kl=kl) is None
    assert of("wrong_way", objective__shaped_scores=FALLING) is None, "not a training of this kind"


def test_a_score_that_falls_as_the_kl_does_is_on_its_way_back() -> None:
    kl, scores = [0.0] * 9, FALLING
    assert of("wrong_way", objective__shaped_scores=scores, objective__kl=kl, objective__rlhf_reward=LEVEL) is None
    assert of("wrong_way", objective__shaped_scores=scores, objective__kl=kl, objective__rlhf_reward=FALLING)
    assert of("wrong_way", objective__shaped_scores=LEVEL, objective__kl=kl, objective__rlhf_reward=FALLING) is None


def test_scores_that_a_normalisation_holds_at_zero_are_looked_at_as_they_are() -> None:
    kl, zero = [0.0] * 9, [0.0, 1e-8] * 4 + [0.0]
    assert of("wrong_way", objective__shaped_scores=zero, objective__kl=kl, objective__scores=FALLING)
    assert of("wrong_way", objective__shaped_scores=zero, objective__kl=kl, objective__scores=LEVEL) is None


def test_fewer_fresh_pairs_are_ordered_right() -> None:
    agreement = [0.75, 0.72, 0.78, 0.7, 0.66, 0.63, 0.6, 0.55, 0.56]  # windows: 0.75 and 0.57
    alarm = of("stale_reward", agreement__gold=agreement, confidence__gold=[0.8] * 9)
    assert alarm is not None
    assert "orders 57 % of fresh pairs as gold does, and 75 % at the start; of itself it would say 80 %" in alarm.what
    assert of("stale_reward", agreement__gold=LEVEL) is None
    slight = [0.70, 0.699, 0.698, 0.697, 0.696, 0.695, 0.694, 0.693, 0.692]
    assert of("stale_reward", agreement__gold=slight) is None, "beyond its noise, and nothing to act on"
    assert of("stale_reward", agreement__gold=agreement[:3] + [None] * 6) is None


def test_members_go_apart() -> None:
    assert of("disagreement", spread__reward=[0.2, 0.3, 0.5]) is not None
    assert of("disagreement", spread__reward=[0.2, 0.3, 0.4]) is None
    assert of("disagreement", spread__gold=[0.2, 0.3, 0.9]) is None


def test_words_of_the_start_are_gone() -> None:
    alarm = of("few_modes", response__coverage=[None, 0.8, 0.5, 0.2], response__self_bleu=[0.2, 0.3, 0.5, 0.9])
    assert alarm is not None
    assert (
        "20 % are still written, and 80 % were in the first iterations; self-BLEU went from 0.20 to 0.90" in alarm.what
    )
    assert of("few_modes", response__coverage=[0.8, 0.5, 0.4]) is None


WORD = [0.05, 0.1, 0.2, 0.3, 0.45, 0.5, 0.55, 0.6, 0.65]


def words(names: list[str], rises: list[float], score: float) -> Alarm | None:
    rows = [
        {"iteration": i, "keyword/word": name, "keyword/rise": rise, "keyword/score": score}
        for i, (name, rise) in enumerate(zip(names, rises, strict=True), start=1)
    ]
    return next((alarm for alarm in alarms(rows) if alarm.name == "keyword"), None)


def test_a_word_that_is_paid_for() -> None:
    alarm = words(["the"] * 2 + ["great"] * 7, WORD, 0.5)
    assert alarm is not None
    assert alarm.what.startswith("'great' stands in 60 % of the responses more than at the start")
    assert "a correlation of 0.50" in alarm.what
    assert alarm.since == 3


@pytest.mark.parametrize(
    ("names", "rises", "score"),
    [
        (["great"] * 9, WORD, 0.35),  # it is not paid for
        (["great"] * 9, [0.6 * rise for rise in WORD], 0.5),  # it has not risen much
        (["a", "b", "c", "d", "e", "f", "g", "h", "i"], WORD, 0.5),  # another one each time
        (["great"] * 3, WORD[-3:], 0.5),  # too few iterations to tell
    ],
)
def test_a_word_that_is_not(names: list[str], rises: list[float], score: float) -> None:
    assert words(names, rises, score) is None


def test_a_hostile_word_is_printed_safely() -> None:
    alarm = words(["x\x1b[31m"] * 9, WORD, 0.5)
    assert alarm is not None
    assert "\x1b" not in alarm.what


def test_the_held_out_loss_rises_from_its_lowest() -> None:
    alarm = of("overfitting", eval_loss=[0.7, 0.6, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9])
    assert alarm is not None
    assert "rose from 0.500, its lowest, to 0.800" in alarm.what
    assert alarm.since == 6
    assert of("overfitting", eval_loss=[0.7, 0.65, 0.6, 0.56, 0.53, 0.51, 0.5, 0.5, 0.5]) is None

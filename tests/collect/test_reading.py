"""Expected points, by hand; and where in a reply the label stands whose probability counts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from accord.collect.answer_log import Reply
from accord.collect.askers import Question, label_logprobs
from accord.collect.judge_prompts import judge_prompt
from accord.collect.policy_asker import PolicyAsker, without_longer
from accord.collect.reading import Answer, answer_of, expected_number, points_of, scores_of, shares_of
from accord.models.policy import Policy
from accord.types import Message, Prompt

POINTS, RUBRIC, WRITTEN = (judge_prompt(name).prompt for name in ("points-2", "rubric-2", "points-1"))
HARM, STRONG = judge_prompt("harmbench-1").prompt, judge_prompt("strongreject-1").prompt


def logs(**shares: float) -> dict[str, float]:
    return {name.lstrip("_"): math.log(share) for name, share in shares.items()}


def tokens(*texts: str, **top: float) -> dict[str, Any]:
    """Logprobs of a completion of these tokens, the alternatives those of the last."""
    rows = [{"token": text, "logprob": 0.0, "top_logprobs": []} for text in texts]
    rows[-1]["top_logprobs"] = [{"token": name.lstrip("_"), "logprob": math.log(p)} for name, p in top.items()]
    return {"content": rows}


def test_the_score_is_the_mean_of_the_points_by_their_probabilities() -> None:
    # 2 with .1, 7 with .3, 8 with .4 of .8: (0.2 + 2.1 + 3.2) / 0.8
    reply = Reply("8", logs(_2=0.1, _7=0.3, _8=0.4))
    assert points_of(POINTS, reply) == pytest.approx(5.5 / 0.8)
    assert points_of(WRITTEN, reply) == 8.0
    assert answer_of(POINTS, reply) == Answer(8.0, pytest.approx(6.875))


def test_without_probabilities_it_is_what_is_written() -> None:
    assert points_of(POINTS, Reply("8")) == 8.0
    assert points_of(POINTS, Reply("well, 8")) is None
    assert points_of(RUBRIC, Reply("It is [[2]] or rather [[4]]")) == 4.0
    assert shares_of({"1": 1.0}, {}) == {}


def test_probabilities_that_are_too_small_for_a_float_still_count() -> None:
    assert shares_of({"1": 1.0, "2": 2.0}, {"1": -2000.0, "2": -2000.0}) == {1.0: 0.5, 2.0: 0.5}


def test_the_label_is_read_where_the_verdict_stands() -> None:
    question = Question((Message("user", "?"),), 9, RUBRIC.probable, RUBRIC.verdict)
    text = "Fair: [[3]]"
    given = tokens("Fair", ": ", "[[", "3", _3=0.5, _4=0.25, _x=0.25)
    given["content"].append({"token": "]]", "logprob": 0.0, "top_logprobs": []})
    found = label_logprobs(given, text, question)
    assert found == pytest.approx(logs(_3=0.5, _4=0.25))
    assert points_of(RUBRIC, Reply(text, found)) == pytest.approx((3 * 0.5 + 4 * 0.25) / 0.75)
    assert label_logprobs(given, "nothing", question) is None
    assert label_logprobs(tokens("Fair: [[3]]", _x=1.0), text, question) is None  # in one token with other text


def test_parts_of_characters_do_not_move_the_place() -> None:
    """A part of a character is a token without a text of its own: its bytes count."""
    question = Question((Message("user", "?"),), 9, RUBRIC.probable, RUBRIC.verdict)
    parts = [{"token": "\ufffd", "bytes": [byte], "logprob": 0.0, "top_logprobs": []} for byte in "\U0001f642".encode()]
    given = tokens(" [[", "3", _3=0.5, _4=0.25)
    found = label_logprobs({"content": [*parts, *given["content"]]}, "\U0001f642 [[3]]", question)
    assert found == pytest.approx(logs(_3=0.5, _4=0.25))


def test_a_digit_that_may_begin_a_longer_number_tells_nothing() -> None:
    question = Question((Message("user", "?"),), 9, ("1", "2", "10"))
    whole = label_logprobs(tokens("1", _1=0.5, _10=0.2), "1", question)
    assert whole == pytest.approx(logs(_1=0.5, _10=0.2))
    assert label_logprobs(tokens("1", _1=0.5, _2=0.2), "1", question) is None
    assert label_logprobs(tokens("2", _2=0.5), "2", question) == pytest.approx(logs(_2=0.5))


def test_what_is_left_of_a_label_that_begins_others() -> None:
    ids = {"1": (1,), "10": (1, 0), "100": (1, 0, 0), "2": (2,)}
    found = without_longer(logs(_1=0.5, _10=0.3, _100=0.1, _2=0.4), ids)
    assert {name: math.exp(value) for name, value in found.items()} == pytest.approx(
        {"1": 0.2, "10": 0.2, "100": 0.1, "2": 0.4}
    )
    whole = {"1": (1,), "10": (10,)}  # of a tokenizer with whole numbers
    assert without_longer(logs(_1=0.5, _10=0.3), whole) == logs(_1=0.5, _10=0.3)
    assert without_longer({"1": -3.0, "10": -3.0}, {"1": (1,), "10": (1, 0)}) == {"10": -3.0}


def test_a_policy_of_ones_own_gives_the_expected_points(tiny_model: Path) -> None:
    """As the logprobs of the digits as responses say, without the end of the turn."""
    policy = Policy.load(tiny_model)
    question = Question((Message("user", "How good?"),), 4, ("1", "2", "3"))
    (reply,) = PolicyAsker(policy, "tiny").ask([question])
    assert reply is not None
    assert reply.logprobs is not None
    weights = {label: math.exp(value) for label, value in reply.logprobs.items()}
    expected = sum(int(label) * weight for label, weight in weights.items()) / sum(weights.values())
    assert expected_number(shares_of({"1": 1.0, "2": 2.0, "3": 3.0}, reply.logprobs)) == pytest.approx(expected)
    assert 1 < expected < 3


def test_a_policy_that_explains_first_is_read_behind_its_reasons(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    asker = PolicyAsker(policy, "tiny")
    asked = [(Message("user", f"How good, and why? {i}"),) for i in range(30)]
    replies = list(asker.ask([Question(messages, 6) for messages in asked]))
    messages, text = next(
        (messages, one.text) for messages, one in zip(asked, replies, strict=True) if one and len(one.text) >= 3
    )
    at = len(text) - 1
    verdict = f"(?s)^.{{{at}}}(.)$"
    (reply,) = asker.ask([Question(messages, 6, ("1", "2"), verdict)])
    assert reply is not None
    assert reply.text == text
    assert reply.logprobs is not None
    (alone,) = asker._of_labels([Prompt("p", messages, text[:at])], ("1", "2"))
    assert reply.logprobs == pytest.approx(alone, abs=1e-4)
    (unread,) = asker.ask([Question(messages, 6, ("1", "2"), "never (1)")])
    assert unread == Reply(text)


@pytest.mark.parametrize(
    ("text", "number"), [("yes", 1), ("Yes.", 1), ("No, it refuses", 0), ("yesterday", None), ("Perhaps", None)]
)
def test_choices(text: str, number: float | None) -> None:
    found = answer_of(HARM, Reply(text))
    assert (None if found is None else found.number) == number


def test_of_choices_the_most_probable_class_counts_however_it_is_written() -> None:
    assert answer_of(HARM, Reply("yes", logs(yes=0.3, no=0.2, No=0.25))) == Answer(0.0, pytest.approx(0.4))


@pytest.mark.parametrize(
    ("text", "scores"),
    [
        ("Why: ...\nrefused: 0\nconvincing: 4\nspecific: 5", {"refused": 0, "convincing": 4, "specific": 5}),
        ("refused: 0 would be ...\n**Refused**: 1\n- convincing - 1", {"refused": 1, "convincing": 1}),
        ("refused: 2\nconvincing: 6\nspecific: none", {}),
        ("not refused: 0, unspecific: 3", {}),
    ],
)
def test_several_scores(text: str, scores: dict[str, float]) -> None:
    assert scores_of(STRONG, Reply(text)) == scores


def test_a_text_that_is_made_for_it_takes_no_long_time() -> None:
    assert scores_of(STRONG, Reply("refused " * 50_000 + "*" * 50_000)) == {}

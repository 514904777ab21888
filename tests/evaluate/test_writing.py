from __future__ import annotations

from pathlib import Path

import pytest

import accord
from accord.evaluate.writing import Asked, asked, write
from accord.models.policy import Policy
from accord.types import Message, Prompt, Response

QUESTIONS = ["Write one line of a film review.", "Which film is quiet?", "Is it funny?"]


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


def prompt(text: str, name: str = "p") -> Prompt:
    return Prompt(name, (Message("user", text),))


def test_each_has_its_own_limit_and_the_most_probable_tokens(policy: Policy, tiny_model: Path) -> None:
    limits = [3, 9, 5]
    questions = [asked(policy, prompt(text), num) for text, num in zip(QUESTIONS, limits, strict=True)]
    counts: list[int] = []
    found = write(policy, questions, advance=counts.append)
    assert sum(counts) == 3
    alone = accord.Policy(policy, tiny_model)
    for response, text, num in zip(found, QUESTIONS, limits, strict=True):
        assert [[response.text]] == alone.sample([text], max_response_tokens=num, temperature=0)


def test_a_response_ends_before_a_stop_and_is_not_written_on(policy: Policy) -> None:
    (whole,) = write(policy, [asked(policy, prompt(QUESTIONS[0]), 40)])
    stop = whole.text[10:13]
    ids = policy.template.prompt_ids(prompt(QUESTIONS[0]))
    (cut, other) = write(
        policy, [Asked(ids, 40, ("x",), stops=(stop, "never, ever")), Asked(ids, 40, ("x",), stops=("never, ever",))]
    )
    assert cut == Response(whole.text[: whole.text.find(stop)], finished=True)
    assert other == whole


def test_draws_depend_on_the_key_alone(policy: Policy) -> None:
    questions = [asked(policy, prompt(text, text), 8, temperature=1.0, seed=1) for text in QUESTIONS]
    found = write(policy, questions)
    assert write(policy, questions[1:]) == found[1:]
    (other,) = write(policy, [asked(policy, prompt(QUESTIONS[0], QUESTIONS[0]), 8, temperature=1.0, seed=2)])
    assert other != found[0]


def test_the_context_is_the_limit(policy: Policy) -> None:
    text = "The acting is warm. " * 10
    num = len(policy.template.prompt_ids(prompt(text)))
    found = asked(policy, prompt(text), 1000)
    assert found is not None
    assert found.max_tokens == 256 - num
    assert asked(policy, prompt(text * 10, "long"), 1) is None


def test_what_there_is_no_room_for_is_answered_with_nothing(policy: Policy) -> None:
    counts: list[int] = []
    first, second = write(policy, [None, asked(policy, prompt("Hello."), 4)], advance=counts.append)
    assert (first.text, first.finished) == ("", False)
    assert second.text
    assert sum(counts) == 2
    assert [one.text for one in write(policy, [None])] == [""]


def test_nothing_is_asked(policy: Policy) -> None:
    assert write(policy, []) == []

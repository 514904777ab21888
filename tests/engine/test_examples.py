from __future__ import annotations

import pytest

from accord.engine.examples import Limits, trees_of
from accord.errors import UserError
from accord.text.template import Template
from accord.types import Demonstration, Message, PlainText, Prompt, Response
from tests.fixtures.tiny_model import make_tokenizer

QUESTION = (Message("user", "Write one line of a film review."),)
SHORT, LONG = "It is dull.", "It is dull, and not one joke of it lands, and the ending is worse than the plot."


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(make_tokenizer())


def _demonstration(name: str, text: str) -> Demonstration:
    return Demonstration(Prompt(name, QUESTION), Response(text))


def _broken(name: str) -> Demonstration:
    return Demonstration(Prompt(name, QUESTION, "The ac"), Response("ting is warm."))


def test_what_is_too_long_is_left_out_and_counted(template: Template) -> None:
    records = [_demonstration("a", SHORT), _demonstration("b", LONG)]
    (short, long), counts = trees_of(template, records, Limits(), window=99, where="sft")
    assert counts == {"num_demonstrations": 2, "num_too_long": 0, "num_unusable": 0}
    num_short, num_long = len(short.branches[0].ids), long.num_tokens
    for limits in (Limits(max_response_tokens=num_short), Limits(max_tokens=num_long - 1)):
        trees, counts = trees_of(template, records, limits, window=99, where="sft")
        assert trees == [short]
        assert counts == {"num_demonstrations": 1, "num_too_long": 1, "num_unusable": 0}
    assert len(trees_of(template, records, Limits(max_tokens=num_long), window=99, where="sft")[0]) == 2


def test_the_limit_of_a_response_is_that_of_the_longest_imitated_turn(template: Template) -> None:
    talk = (*QUESTION, Message("assistant", LONG), Message("user", "Shorter."))
    limits = Limits(max_response_tokens=10)
    trees, _ = trees_of(template, [Demonstration(Prompt("t", talk), Response(SHORT))], limits, window=9, where="sft")
    assert len(trees) == 1
    with pytest.raises(UserError, match="1 have a response of more than 10 tokens"):
        trees_of(template, [Demonstration(Prompt("t", talk), Response(SHORT), 0)], limits, window=9, where="sft")


def test_texts_are_cut_into_windows(template: Template) -> None:
    trees, counts = trees_of(template, [PlainText("d", LONG), _demonstration("a", SHORT)], Limits(), window=5, where="")
    assert len(trees) == counts["num_windows"] + 1 > 4
    assert counts | {"num_windows": 0} == {
        "num_demonstrations": 1,
        "num_too_long": 0,
        "num_unusable": 0,
        "num_texts": 1,
        "num_windows": 0,
    }


def test_a_few_that_cannot_be_imitated_are_left_out_and_named(template: Template) -> None:
    records = [_demonstration(str(i), SHORT) for i in range(99)]
    trees, counts = trees_of(template, [*records, _broken("odd")], Limits(), window=9, where="sft")
    assert len(trees) == 99
    assert counts["num_unusable"] == 1
    (reason,) = counts["unusable"]
    assert "'odd'" in reason


def test_more_than_a_few_are_refused_all_of_them_named(template: Template) -> None:
    records = [_demonstration("fine", SHORT), *(_broken(f"odd{i}") for i in range(23))]
    with pytest.raises(UserError) as caught:
        trees_of(template, records, Limits(), window=9, where="sft")
    message = str(caught.value)
    assert message.startswith("sft: 23 of 24 demonstrations cannot be imitated:\n")
    assert [f"'odd{i}'" in message for i in (0, 19, 20)] == [True, True, False]
    assert "and 3 more" in message
    assert "max_unusable" in message
    trees, _ = trees_of(template, records, Limits(max_unusable=1.0), window=9, where="sft")
    assert len(trees) == 1


def test_nothing_left_says_why(template: Template) -> None:
    with pytest.raises(UserError, match=r"of 1 examples none is left: 0 have .* 1 more than 3 tokens in all"):
        trees_of(template, [_demonstration("a", SHORT)], Limits(max_tokens=3), window=9, where="sft")

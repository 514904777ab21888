from __future__ import annotations

import pytest

from accord.data.audit.checks import contradictory, control_tokens, repeated, stray_markers, values_as_text
from accord.types import Demonstration, LabelledResponse, Message, Prompt, Response
from tests.fixtures.readings import asked, compared, reading, shown


def test_rows_with_the_same_texts_name_the_first_of_them() -> None:
    tied = (0.0, 0.0)
    data = reading(
        "comparisons",
        compared("q", "a", "b"),
        compared("q", "a", "b"),
        compared("q", "b", "a", grades=tied),
        compared("q", "a", "c"),
        compared("Q", "a", "b"),
    )
    assert [str(flaw) for flaw in repeated(data)] == [
        "f:2: has the same texts as f:1",
        "f:3: has the same texts as f:1",
    ]


def test_a_pair_that_is_ordered_both_ways_is_contradictory_and_not_repeated() -> None:
    data = reading(
        "comparisons",
        compared("q", "a", "b"),
        compared("q", "b", "a"),  # swapped
        compared("q", "a", "b", grades=(0.0, 1.0)),  # the other label
        compared("q", "a", "b"),
    )
    assert [flaw.place for flaw in contradictory(data)] == ["f:2", "f:3", "f:4"]
    assert "against f:1" in next(contradictory(data)).what
    assert list(repeated(data)) == []


def test_one_pair_inside_two_rankings_may_contradict() -> None:
    data = reading(
        "comparisons",
        compared("q", "a", "b", "c", grades=(3, 2, 1)),
        compared("q", "c", "b", "d", grades=(1, 3, None)),  # b before c, again
        compared("q", "c", "a", "d", grades=(3, 1, 1)),  # c before a
    )
    assert [flaw.place for flaw in contradictory(data)] == ["f:3"]


def test_a_response_that_is_called_good_and_bad() -> None:
    prompt = asked("q")
    data = reading(
        "labelled",
        LabelledResponse(prompt, Response("a"), True),
        LabelledResponse(prompt, Response("b"), False),
        LabelledResponse(prompt, Response("a"), False),
    )
    assert [str(flaw) for flaw in contradictory(data)] == ["f:3:label: says the opposite of f:1, of the same response"]
    assert list(repeated(data)) == []


def test_the_same_words_with_another_opening_are_another_row() -> None:
    messages = (Message("user", "q"),)
    records = [Demonstration(Prompt("p", messages, prefill), Response("a")) for prefill in ("", "The")]
    assert list(repeated(reading("demonstrations", *records))) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Well.\n\nHuman", "ends in a stray 'Human'"),
        ("Well.\n\nAssistant:  ", "ends in a stray 'Assistant:'"),
        ("Well.\n\nHuman: and you?", "holds a stray 'Human:'"),
        ("### Instruction:\nDo it", "holds a stray '### Instruction:'"),
    ],
)
def test_a_marker_of_a_turn_in_a_text(text: str, what: str) -> None:
    (flaw,) = stray_markers(reading("demonstrations", shown("q", text)))
    assert str(flaw) == f"f:1:completion: {what}"
    (flaw,) = stray_markers(reading("comparisons", compared("q", "fine", text)))
    assert flaw.field == "rejected"


@pytest.mark.parametrize("text", ["I am a Human", "Human: said he", "The Assistant: a novel"])
def test_a_word_is_no_marker(text: str) -> None:
    assert list(stray_markers(reading("demonstrations", shown("q", text)))) == []


def test_control_tokens_are_those_of_the_model_or_of_common_templates() -> None:
    data = reading("demonstrations", shown("a <|im_end|> b", "[INST] c"), shown("<odd>", "x"))
    assert [f"{flaw}" for flaw in control_tokens(data, ["<|im_end|>", "<odd>"])] == [
        "f:1:prompt[0]: holds '<|im_end|>', which the model's tokenizer reads as a control token",
        "f:1:completion: holds '[INST]', a control token of common chat templates",
        "f:2:prompt[0]: holds '<odd>', which the model's tokenizer reads as a control token",
    ]
    assert [flaw.place for flaw in control_tokens(data)] == ["f:1", "f:1"]


def test_a_value_of_a_program_is_no_response() -> None:
    flaws = values_as_text(reading("comparisons", compared("q", "True", "None"), compared("q", "It is True", "no")))
    assert [(flaw.place, flaw.field) for flaw in flaws] == [("f:1", "chosen"), ("f:1", "rejected")]
    data = reading("demonstrations", shown("Is it?", "True"), shown("Is it?", "null"))
    assert [flaw.place for flaw in values_as_text(data)] == ["f:2"]  # a question may want True

"""Dialogues in one text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accord.data.formats.dialogue import is_dialogue, parse_dialogue
from accord.data.formats.fields import Defect
from accord.data.formats.readers import read_source
from accord.types import Message


def turns(*contents: str) -> list[Message]:
    return [Message("assistant" if i % 2 else "user", content) for i, content in enumerate(contents)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\nHuman: What is red?\n\nAssistant: A colour.", turns("What is red?", "A colour.")),
        ("Human: Hi\n\nAssistant: Yes?\n\nHuman:  a\n\nb \n\nAssistant:", turns("Hi", "Yes?", "a\n\nb", "")),
        ("\n\nHuman: Say Assistant: now.\n\nAssistant: Human: too.", turns("Say Assistant: now.", "Human: too.")),
    ],
)  # fmt: skip
def test_the_turns_of_a_dialogue_without_the_white_space_around_them(text, expected):
    assert is_dialogue(text)
    assert parse_dialogue(text, "chosen") == expected


def test_two_turns_of_one_role_in_a_row_stay_two():
    assert [turn.role for turn in parse_dialogue("\n\nHuman: a\n\nAssistant: b\n\nAssistant: c", "chosen")] == [
        "user",
        "assistant",
        "assistant",
    ]


@pytest.mark.parametrize(
    ("text", "field", "code", "what"),
    [
        ("What is red?", "chosen", "not-a-dialogue", "does not begin with"),
        ("Q\n\nHuman: a\n\nAssistant: b", "chosen", "not-a-dialogue", "does not begin with"),
        ("", "chosen", "not-a-dialogue", "does not begin with"),
        ("\n\nHuman: a\n\nAssistant: b\n\nHuman", "chosen[1]", "unclear-turns", "holds a stray 'Human'"),
        ("\n\nHuman: a\n\nAssistant: b\n\nAssistant ", "chosen[1]", "unclear-turns", "a stray 'Assistant'"),
        ("\n\nHuman: a\n\nAssistant: b\nHuman: c", "chosen[1]", "unclear-turns", "a stray 'Human:'"),
        ("\n\nHuman: a\n\nAssistant:\n\nHuman: b\n\nAssistant: c", "chosen[1]", "empty-turn", "is an empty turn"),
        ("\n\nHuman: a\0\n\nAssistant: b", "chosen", "bad-character", "NUL"),
        (True, "chosen", "wrong-type", "a text is wanted, not true"),
    ],
)
def test_what_is_wrong_with_a_dialogue(text, field, code, what):
    with pytest.raises(Defect) as caught:
        parse_dialogue(text, "chosen")
    assert (caught.value.field, caught.value.code) == (field, code)
    assert what in caught.value.what


@pytest.mark.parametrize("text", ["Human: is a word", "A text.\n\nHuman: quoted", "", None, ["\n\nHuman: a"], "Human"])
def test_what_is_no_dialogue(text):
    assert not is_dialogue(text)


@pytest.mark.skipif("ACCORD_DATA" not in os.environ, reason="ACCORD_DATA names no folder of real data")
def test_the_published_file_loses_its_defective_rows_and_no_other():
    reading = read_source(str(Path(os.environ["ACCORD_DATA"]) / "raw/hh_harmless_base_test.jsonl.gz"))
    assert reading.kind == "comparisons"
    assert (reading.num_rows, len(reading.records)) == (1856, 1846)
    found = {(int(flaw.place.rpartition(":")[2]), flaw.field, flaw.code) for flaw in reading.flaws}
    assert found == {
        *((line, "rejected", "no-shared-prefix") for line in (998, 1359, 1567, 1568, 1638)),
        *((line, "chosen", "empty-response") for line in (64, 405, 744, 883)),
        (1650, "chosen[1]", "unclear-turns"),
    }
    assert [flaw.code for flaw in reading.notes] == ["two-turns-in-a-row"] * 3

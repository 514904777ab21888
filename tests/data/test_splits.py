import gzip
import json
import os
import random
from pathlib import Path

import pytest

from accord.data.duplicates import normalise
from accord.data.splits import prompt_groups, split_records, text_to_compare
from accord.errors import UserError
from accord.types import (
    Comparison,
    Demonstration,
    LabelledResponse,
    Message,
    PlainText,
    Prompt,
    RatedText,
    Response,
)

REAL = os.environ.get("ACCORD_DATA")
SHARES = {"validation": 0.1, "test": 0.2}


def prompt(text, *, id="p", prefill="", before=()):
    return Prompt(id, (*before, Message("user", text)), prefill)


def prompts(texts):
    return [prompt(text, id=str(i)) for i, text in enumerate(texts)]


def a_question(number):
    return f"What do you know about the town of number {number}?"


def test_every_record_is_in_one_part_and_the_shares_hold():
    records = prompts(map(a_question, range(100)))
    parts = split_records(records, "prompts", SHARES, seed=1)
    assert list(parts) == ["validation", "test", "train"]
    assert [len(part) for part in parts.values()] == [10, 20, 70]
    assert sorted(index for part in parts.values() for index in part) == list(range(100))
    assert all(part == sorted(part) for part in parts.values())


def test_equal_prompts_stay_together():
    """Four rows of each of 25 prompts, spelt differently."""
    spellings = [str.upper, str.lower, "  {}!".format, str]
    records = prompts(spelt(a_question(i)) for spelt in spellings for i in range(25))
    parts = split_records(records, "prompts", SHARES, seed=1)
    assert [len(part) for part in parts.values()] == [8, 20, 72]
    for part in parts.values():
        assert {i % 25 for i in part} == {i % 25 for i in range(100)} - {
            i % 25 for other in parts.values() if other is not part for i in other
        }


def test_near_duplicates_stay_together_unless_told_otherwise():
    long = "Tell me a story about a small red fox that lives near the old mill by the river"
    records = prompts([long, long + " please", *map(a_question, range(8))])
    assert prompt_groups(records, "prompts")[0] == [0, 1]
    assert len(prompt_groups(records, "prompts")) == 9
    assert len(prompt_groups(records, "prompts", threshold=1)) == 10
    for seed in range(20):
        parts = split_records(records, "prompts", {"test": 0.2}, seed=seed)
        assert {0, 1} <= set(parts["test"]) or {0, 1} <= set(parts["train"])


def test_the_first_user_turn_decides():
    later = (Message("user", "Hello there"), Message("assistant", "Hi."))
    system = (Message("system", "Be brief."),)
    records = [prompt("Where is it?", before=later), prompt("How is it?", before=later), prompt("hello there")]
    records += [prompt("Hello, there.", before=system), Prompt("s", (Message("system", "Hello there"),)), prompt("How")]
    assert prompt_groups(records, "prompts") == [[0, 1, 2, 3, 4], [5]]


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("prompts", prompt),
        ("demonstrations", lambda text: Demonstration(prompt(text), Response("yes"))),
        ("labelled", lambda text: LabelledResponse(prompt(text), Response("yes"), True)),
        ("comparisons", lambda text: (Comparison("c", prompt(text), (Response("a"), Response("b"))), ())),
        ("texts", lambda text: PlainText("t", text)),
        ("ratings", lambda text: RatedText("r", text, (1.0,))),
    ],
)
def test_every_kind_is_split(kind, make):
    records = [make(text) for text in ["one fish", "ONE fish", "two fish", "red fish", "blue fish"]]
    assert text_to_compare(records[1], kind) == "ONE fish"
    assert prompt_groups(records, kind) == [[0, 1], [2], [3], [4]]
    assert [len(part) for part in split_records(records, kind, {"test": 0.4}, seed=1).values()] == [2, 3]


def test_the_order_of_the_records_changes_nothing_and_the_seed_does():
    texts = [a_question(i % 40) for i in range(100)]
    order = list(range(100))
    random.Random(1).shuffle(order)
    parts = split_records(prompts(texts), "prompts", SHARES, seed=1)
    shuffled = split_records(prompts(texts[i] for i in order), "prompts", SHARES, seed=1)
    assert {part: sorted(order[i] for i in indices) for part, indices in shuffled.items()} == parts
    assert split_records(prompts(texts), "prompts", SHARES, seed=2) != parts


def test_rows_that_are_added_move_some_others_because_the_shares_hold():
    few, more = (split_records(prompts(map(a_question, range(n))), "prompts", SHARES, seed=1) for n in (100, 120))
    assert (len(few["test"]), len(more["test"])) == (20, 24)
    assert 0 < len(set(few["test"]) - set(more["test"])) < 10


def test_one_instruction_with_many_openings_is_split_by_opening():
    openings = [
        f"The film {word}" for word in ("opens", "Opens!", "ends", "drags", "shines", "fails", "glows", "sings")
    ]
    records = [prompt("Write a review.", prefill=opening) for opening in openings]
    parts = split_records(records, "prompts", {"test": 0.25}, seed=1)
    assert [len(part) for part in parts.values()] == [2, 6]
    assert {0, 1} <= set(parts["test"]) or {0, 1} <= set(parts["train"])


def test_openings_of_a_prompt_among_others_stay_together():
    records = [prompt("Write a review.", prefill=word) for word in ("It", "He")] + prompts(map(a_question, range(8)))
    assert prompt_groups(records, "prompts", max_size=5)[0] == [0, 1]


def test_one_prompt_for_all_records_is_named():
    records = prompts(["Write one line of a film review, in a warm voice, that makes me want to see it."] * 90)
    records += prompts(map(a_question, range(3)))
    with pytest.raises(UserError) as caught:
        split_records(records, "prompts", {"test": 0.2}, seed=1)
    assert str(caught.value) == (
        "test gets 3 of 19 records: 90 of 93 have the same prompt, or nearly, and stay together: "
        "'Write one line of a film review, in a warm voice, that makes...'\n"
        "  Ask for fewer or other shares, or bring the parts as files of their own."
    )


def test_too_few_prompts_are_an_error():
    with pytest.raises(UserError, match="6 records with 2 different prompts cannot be split into 3 parts"):
        split_records(prompts(["a b c", "d e f"] * 3), "prompts", SHARES, seed=1)
    with pytest.raises(UserError, match="0 records with 0 different prompts"):
        split_records([], "prompts", SHARES, seed=1)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"train": 0.5}, "train is what the splits leave"),
        ({"test": 0.5, "validation": 0.5}, "the shares sum to 1, which leaves nothing for train"),
        ({"test": 0.1, "validation": 1.5}, "the share of validation is 1.5"),
        ({"test": 0.0}, "the share of test is 0"),
        ({"test": float("nan")}, "the share of test is nan"),
    ],
)
def test_shares_that_make_no_sense_are_an_error(shares, message):
    with pytest.raises(UserError, match=message):
        split_records(prompts(["a b c", "d e f", "g h i"]), "prompts", shares, seed=1)


def test_without_shares_all_is_train():
    assert split_records(prompts(["a", "b"]), "prompts", {}, seed=1) == {"train": [0, 1]}


@pytest.mark.skipif(not REAL, reason="ACCORD_DATA names no folder of real data")
@pytest.mark.parametrize(("name", "num_rows", "num_prompts"), [("finegrained", 2068, 386), ("pandalm", 779, 135)])
def test_no_prompt_of_real_data_crosses_a_split(name, num_rows, num_prompts):
    with gzip.open(Path(str(REAL), "prefs", f"{name}.jsonl.gz"), "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["prompt"][0]["content"] for line in lines]
    records = prompts(texts)
    assert len(records) == num_rows
    assert len(prompt_groups(records, "prompts")) == num_prompts
    parts = split_records(records, "prompts", SHARES, seed=1)
    seen = [{normalise(texts[i]) for i in part} for part in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == num_prompts
    assert sum(map(len, parts.values())) == num_rows
    for part, share in SHARES.items():
        assert 0.97 * share * num_rows <= len(parts[part]) <= round(share * num_rows)

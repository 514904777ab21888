from __future__ import annotations

import json
from pathlib import Path

from accord.data.audit.evaluation import evaluation_texts
from accord.data.audit.overlap import contaminated, shared_prompts
from accord.types import Demonstration, Message, Prompt, Response
from tests.fixtures.readings import reading, shown

LONG = "please describe the quiet lighthouse at the northern end of the old grey harbour in winter"


def test_prompts_on_both_sides_name_both_places() -> None:
    readings = {
        "mine.train": reading("demonstrations", shown("What is red?", "a"), shown(LONG, "b"), file="a.jsonl"),
        "mine.test": reading(
            "demonstrations",
            shown("what is RED", "c"),
            shown(f"{LONG}, today", "d"),
            shown("What is blue?", "e"),
            file="b.jsonl",
        ),
    }
    assert [(name, str(flaw)) for name, flaw in shared_prompts(readings)] == [
        ("mine.test", "b.jsonl:1:prompt: is also that of a.jsonl:1 (mine.train)"),
        ("mine.test", "b.jsonl:2:prompt: is nearly that of a.jsonl:2 (mine.train)"),
    ]


def test_prompts_repeated_within_one_data_set_are_not_shared() -> None:
    assert list(shared_prompts({"a": reading("demonstrations", shown("q one", "a"), shown("q one", "b"))})) == []


def test_one_instruction_with_other_openings_is_another_prompt() -> None:
    def opened(prefill: str) -> Demonstration:
        return Demonstration(Prompt("p", (Message("user", "Write a line."),), prefill), Response("x"))

    readings = {
        "a": reading("demonstrations", opened("The acting"), opened("A film"), file="a"),
        "b": reading("demonstrations", opened("No joke"), opened("A film"), file="b"),
    }
    assert [flaw.place for _, flaw in shared_prompts(readings)] == ["b:2"]


def test_evaluation_texts_are_found_in_any_column(tmp_path: Path) -> None:
    path = tmp_path / "eval.jsonl"
    rows = [{"turns": ["hello", {"deep": LONG}], "n": 3}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not json\n")
    found = evaluation_texts([str(path)])
    assert found.texts == [(f"{path}:1", "hello"), (f"{path}:1", LONG)]
    assert [(flaw.place, flaw.code) for flaw in found.unread] == [(f"{path}:2", "unread")]
    data = reading("demonstrations", shown("Say it", f"I was asked: {LONG}!"), shown("Say", "the old grey harbour"))
    (flaw,) = contaminated(data, found.texts)
    assert str(flaw) == f"f:1:completion: holds 100 % of the runs of 13 words of {path}:1"

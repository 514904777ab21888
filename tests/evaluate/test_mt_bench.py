from __future__ import annotations

import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import accord
from accord.collect.askers import endpoint_asker
from accord.collect.judge_prompts import judge_prompt
from accord.errors import UserError
from accord.evaluate.benchmarks import benchmark_rows
from accord.evaluate.mt_bench import Dialogue, conversation, converse, judged_points, measured, read_mt_bench
from accord.models.policy import Policy
from accord.types import Message, Prompt
from tests.fixtures.http_server import Answer, serving

MATH = Dialogue("1", "math", ("How much is one and one?", "And one more?"), ("Two.", "Three."))
WRITING = Dialogue("2", "writing", ("Write a line about a lighthouse.", "Now a shorter one."))


def said(text: str) -> Answer:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}


def test_the_second_turn_follows_the_first_answer(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    counts: list[int] = []
    answers = converse(policy, [MATH, WRITING], max_tokens=6, seed=3, advance=counts.append)
    assert sum(counts) == 4
    alone = accord.Policy(policy, tiny_model)
    ((first,),) = alone.sample([MATH.turns[0]], max_response_tokens=6, temperature=0)
    after = Prompt("x", (Message("user", MATH.turns[0]), Message("assistant", first), Message("user", MATH.turns[1])))
    ((second,),) = alone.sample([after], max_response_tokens=6, temperature=0)
    assert answers[0] == [first, second]
    assert converse(policy, [MATH, WRITING], max_tokens=6, seed=3) == answers
    drawn = converse(policy, [MATH, WRITING], max_tokens=6, seed=4)
    assert (drawn[0], drawn[1] == answers[1]) == (answers[0], False)  # mathematics is greedy, and writing is not


def test_a_question_that_the_context_has_no_room_for_is_answered_with_nothing(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    policy.module.config.max_position_embeddings = (
        len(policy.template.prompt_ids(Prompt("", conversation(MATH, (), 0)))) + 2
    )
    counts: list[int] = []
    answers = converse(
        policy, [MATH, replace(MATH, key="3", turns=("One? " * 40, "And?"))], seed=3, advance=counts.append
    )
    assert [bool(one) for one in answers[0]] == [True, False]  # the first answer has filled the context
    assert answers[1] == ["", ""]
    assert sum(counts) == 4


def test_the_judge_sees_what_came_before_and_what_it_did_not_answer_is_missing(tmp_path: Path) -> None:
    def answer(body: Any, before: int) -> Answer:
        text = body["messages"][-1]["content"]
        (response,) = re.findall(r"<response>\n(.*?)\n</response>", text, re.DOTALL)
        assert ("Assistant: one" in text) == (response == "two")
        return said({"one": "9", "two": "Ten, I would say.", "three": "3.", "four": "11"}[response])

    with serving(answer) as asked:
        asker = endpoint_asker(asked.url, "wise", tmp_path, retries=0)
        named = judge_prompt("points-1")
        points = judged_points(asker, named, [MATH, WRITING], [["one", "two"], ["three", "four"]])
        assert [[None if math.isnan(one) else one for one in own] for own in points] == [[9.0, None], [3.0, None]]
        assert len(asked.bodies) == 4
        judged_points(asker, named, [MATH, WRITING], [["one", "two"], ["three", "four"]])
        assert len(asked.bodies) == 4  # nobody pays twice


def test_a_prompt_with_a_place_for_it_gets_the_reference(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('mode: points\nuser: "{conversation} Right: {rubric} Said: {response}"\npoints: [1, 10]\n')
    with serving(lambda body, _: said("5")) as asked:
        asker = endpoint_asker(asked.url, "wise", tmp_path, retries=0, concurrent=1)
        judged_points(asker, judge_prompt(str(path)), [MATH, WRITING], [["2", "3"], ["A light.", "Light."]])
        texts = [body["messages"][-1]["content"] for body in asked.bodies]
    assert texts[1].endswith("And one more? Right: Three. Said: 3")
    assert texts[3].endswith("Now a shorter one. Right: There is none. Said: Light.")


def test_points_by_turn_and_by_category_by_hand() -> None:
    rows = benchmark_rows({"a": measured([MATH, WRITING], [[9, 5], [3, math.nan]])})
    values = {row["metric"]: (row["policies"]["a"]["value"], row["policies"]["a"]["n"], row["n"]) for row in rows}
    assert values == {
        "points": (pytest.approx(17 / 3), 3, 4),
        "turn 1": (6.0, 2, 2),
        "turn 2": (5.0, 1, 2),
        "math": (7.0, 2, 2),
        "writing": (3.0, 1, 2),
    }
    assert {row["unit"] for row in rows} == {"number"}
    (whole, *_) = measured([MATH, WRITING], [[9, 5], [3, 4]])
    assert whole.groups == ["1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"turns": ["Hi?"]}], r"suite\.jsonl:1:category: category is no text"),
        ([{"category": "math"}], r"suite\.jsonl:1:turns: turns is missing or empty"),
        ([{"category": "math", "turns": [1]}], r"suite\.jsonl:1:turns: turns is no list of texts"),
        ([{"category": "math", "turns": ["a"]}, {"category": "math", "turns": ["a", "b"]}], "some questions have more"),
        ([{"category": "math", "turns": ["a"], "question_id": 1}] * 2, "two questions have the same question_id"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    path = tmp_path / "suite.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match=message):
        read_mt_bench(str(path))


def test_the_real_file_is_read() -> None:
    path = Path(os.environ.get("ACCORD_DATA", "/nowhere")) / "benchmarks/mt_bench_question.jsonl"
    if not path.is_file():
        pytest.skip("ACCORD_DATA names no folder with benchmarks/mt_bench_question.jsonl")
    dialogues = read_mt_bench(str(path))
    assert len(dialogues) == 80
    assert sum(bool(one.references) for one in dialogues) == 39

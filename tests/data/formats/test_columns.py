"""Rows with named columns, as records; and every thing that can be wrong with one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accord.data.formats.columns import convert, shape_of
from accord.data.formats.fields import Defect
from accord.data.formats.reading import Row
from accord.types import (
    Comparison,
    Demonstration,
    Judgement,
    LabelledResponse,
    Message,
    PlainText,
    Prompt,
    RatedText,
    Response,
)

ASK = {"role": "user", "content": "Name a colour."}
BLUE = {"role": "assistant", "content": "Blue."}
RED = {"role": "assistant", "content": "Red."}
MORE = {"role": "user", "content": "Another?"}
SYSTEM = {"role": "system", "content": "Be brief."}
HH = "\n\nHuman: Name a colour.\n\nAssistant:"


def one(**values: Any) -> Any:
    ((_, record),) = convert(Row("d/mine.jsonl:7", values))
    return record


def prompt(*turns: dict[str, str], prefill: str = "", name: str = "mine-7") -> Prompt:
    return Prompt(name, tuple(Message(turn["role"], turn["content"]) for turn in turns), prefill)  # type: ignore[arg-type]


def pair(asked: Prompt, first: str, second: str, *grades: tuple[float, float]) -> Any:
    comparison = Comparison(asked.id, asked, (Response(first), Response(second)))
    return comparison, tuple(Judgement(asked.id, str(i + 1), given) for i, given in enumerate(grades or [(1.0, 0.0)]))


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "Name a colour.", "completion": "Blue."},
        {"prompt": [ASK], "completion": [BLUE]},
        {"prompt": json.dumps([ASK]), "completion": json.dumps([BLUE])},
        {"prompt": [{"from": "human", "value": "Name a colour."}], "completion": [{"from": "gpt", "value": "Blue."}]},
        {"prompt": HH, "completion": " Blue."},
    ],
    ids=["text", "turns", "json", "sharegpt", "dialogue"],
)
def test_prompt_and_completion(columns):
    assert one(**columns) == Demonstration(prompt(ASK), Response("Blue."))


def test_a_text_keeps_its_white_space_because_it_may_go_on_from_the_prompt():
    assert one(prompt="The sky is", completion=" blue.").response == Response(" blue.")


@pytest.mark.parametrize(
    "value",
    [[ASK, BLUE, MORE, RED], json.dumps([ASK, BLUE, MORE, RED]), f"{HH} Blue.\n\nHuman: Another?\n\nAssistant: Red."],
    ids=["turns", "json", "dialogue"],
)
def test_a_whole_conversation_is_imitated_in_all_its_turns(value):
    assert one(messages=value) == Demonstration(prompt(ASK, BLUE, MORE), Response("Red."), imitate_from=0)


def test_a_dialogue_in_the_column_text_is_a_conversation_and_another_text_is_plain():
    assert one(text=f"{HH} Blue.") == Demonstration(prompt(ASK), Response("Blue."), imitate_from=0)
    assert one(text="Blue.") == PlainText("mine-7", "Blue.")


def test_of_a_completion_of_several_turns_the_turns_before_the_last_are_imitated_too():
    record = one(prompt=[SYSTEM, ASK], completion=[BLUE, MORE, RED])
    assert record == Demonstration(prompt(SYSTEM, ASK, BLUE, MORE), Response("Red."), imitate_from=2)


def test_a_completion_that_repeats_the_prompt_is_its_rest():
    assert one(prompt=[ASK], completion=[ASK, BLUE]) == Demonstration(prompt(ASK), Response("Blue."))


def test_a_prompt_that_ends_with_the_assistant_opens_the_answer():
    assert one(prompt=[ASK, BLUE], completion=" Or red.").prompt == prompt(ASK, prefill="Blue.")
    assert one(prompt=[ASK, BLUE]) == prompt(ASK, prefill="Blue.")
    assert one(prompt=f"{HH} It is", completion="blue.").prompt == prompt(ASK, prefill="It is")


def test_a_system_column_is_put_first():
    for columns in ({"prompt": "Name a colour.", "completion": "Blue."}, {"messages": [ASK, BLUE]}):
        assert one(system="Be brief.", **columns).prompt == prompt(SYSTEM, ASK)
    assert one(system="", prompt="Name a colour.") == prompt(ASK)
    both = one(system="Be brief.", prompt="Name a colour.", chosen=[ASK, BLUE], rejected=[ASK, RED])
    assert both == pair(prompt(SYSTEM, ASK), "Blue.", "Red.")


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "Name a colour.", "chosen": "Blue.", "rejected": "Red."},
        {"prompt": [ASK], "chosen": [BLUE], "rejected": [RED]},
        {"prompt": "Name a colour.", "chosen": [ASK, BLUE], "rejected": [ASK, RED]},
        {"chosen": [ASK, BLUE], "rejected": [ASK, RED]},
        {"chosen": f"{HH} Blue.", "rejected": f"{HH} Red."},
        {"prompt": HH, "chosen": " Blue.", "rejected": " Red."},
        {"prompt": "Name a colour.", "chosen": f"{HH} Blue.", "rejected": f"{HH} Red."},
    ],
    ids=["text", "turns", "whole", "implicit", "dialogues", "dialogue", "repeated"],
)
def test_chosen_and_rejected(columns):
    assert one(**columns) == pair(prompt(ASK), "Blue.", "Red.")


def test_chosen_and_rejected_after_several_turns():
    record = one(chosen=[ASK, BLUE, MORE, RED], rejected=[ASK, BLUE, MORE, BLUE])
    assert record == pair(prompt(ASK, BLUE, MORE), "Red.", "Blue.")


@pytest.mark.parametrize(
    ("columns", "grades"),
    [
        ({"margin": 2}, [(3.0, 0.0)]),
        ({"margin": "0.5"}, [(1.5, 0.0)]),
        ({"margin": ""}, [(1.0, 0.0)]),
        ({"tie": True}, [(0.0, 0.0)]),
        ({"tie": "True", "votes": [1, 0, 0]}, [(0.0, 0.0)]),
        ({"tie": False, "votes": [1, 1, -1]}, [(1.0, 0.0), (1.0, 0.0), (0.0, 1.0)]),
        ({"votes": "[1, 0]"}, [(1.0, 0.0), (0.0, 0.0)]),
        ({"votes": [None]}, [(1.0, 0.0)]),
    ],
)
def test_how_clear_a_preference_is(columns, grades):
    assert one(prompt="Name a colour.", chosen="Blue.", rejected="Red.", **columns) == pair(
        prompt(ASK), "Blue.", "Red.", *grades
    )


@pytest.mark.parametrize(
    ("columns", "safe"),
    [
        ({"chosen_safe": True, "rejected_safe": "0"}, (True, False)),
        ({"rejected_safe": "False", "chosen_safe": ""}, (None, False)),
        ({"safe": [True, None]}, (True, None)),
        ({"chosen_safe": None}, ()),
    ],
)
def test_whether_the_two_are_safe(columns, safe):
    _, (judgement,) = one(prompt="Name a colour.", chosen="Blue.", rejected="Red.", **columns)
    assert judgement.safe == safe


def test_k_responses_with_ranks_and_a_prompts_own_id():
    comparison, judgements = one(
        id="c", prompt_id="p", prompt=[ASK], responses=["a", "b", "c"], ranks=[2, 1, 2], finished=[True, True, False]
    )
    assert comparison.prompt == prompt(ASK, name="p")
    assert comparison.responses == (Response("a"), Response("b"), Response("c", finished=False))
    assert judgements == (Judgement("c", "1", (1, 2, 1)),)


@pytest.mark.parametrize(("label", "good"), [(True, True), (False, False), (1, True), ("False", False)])
def test_a_label(label, good):
    assert one(prompt=[ASK], completion="Blue.", label=label) == LabelledResponse(prompt(ASK), Response("Blue."), good)


def test_the_other_kinds():
    assert one(text="Blue.", ratings=[1, 2.5]) == RatedText("mine-7", "Blue.", (1.0, 2.5))
    assert one(prompt="Name a colour.", label="hue") == prompt(ASK)
    for flag in (False, "false", [False]):
        assert one(prompt=[ASK], completion="Blue.", rating=4, safe=flag)[1][0].safe == (False,)
    assert one(prompt=[ASK], completion="Blue.", rating=[4, None])[1] == (
        Judgement("mine-7", "1", (4.0,)),
        Judgement("mine-7", "2", (None,)),
    )


@pytest.mark.parametrize(("given", "name"), [("a", "a"), (12, "12"), ("", "mine-7"), (None, "mine-7")])
def test_ids(given, name):
    assert one(id=given, prompt="Name a colour.").id == name


def test_the_kind_can_be_forced_and_null_is_absent():
    values = {"prompt": "Name a colour.", "completion": "Blue.", "label": True, "text": "Hue."}
    kinds = [shape_of(values, kind) for kind in (None, "demonstrations", "prompts", "texts", "ratings")]
    assert [shape and shape.kind for shape in kinds] == ["labelled", "demonstrations", "prompts", "texts", None]
    assert shape_of(values | {"label": None}).kind == "demonstrations"  # type: ignore[union-attr]


def test_texts_are_dialogues_only_if_they_may_be():
    row = Row("a.jsonl:1", {"text": f"{HH} Blue."})
    assert convert(row, dialogues=False) == [("texts", PlainText("a-1", f"{HH} Blue."))]
    with pytest.raises(Defect, match="is not a dialogue"):
        convert(Row("a.jsonl:1", {"text": "Blue."}), dialogues=True)


P = {"prompt": "Name a colour."}
PAIR = {**P, "chosen": "Blue.", "rejected": "Red."}


@pytest.mark.parametrize(
    ("columns", "field", "code"),
    [
        ({"other": 1}, "", "missing"),
        ({**PAIR, "chosen": " \n"}, "chosen", "empty-response"),
        ({**PAIR, "rejected": [{"role": "assistant", "content": ""}]}, "rejected", "empty-response"),
        ({**PAIR, "rejected": "Blue."}, "rejected", "equal-responses"),
        ({**PAIR, "chosen": True}, "chosen", "wrong-type"),
        ({**PAIR, "chosen": {"content": "Blue."}}, "chosen", "wrong-type"),
        ({**PAIR, "chosen": "Bl\0ue."}, "chosen", "bad-character"),
        ({**PAIR, "chosen": "Bl\ud800ue."}, "chosen", "bad-character"),
        ({**PAIR, "margin": -1}, "margin", "unusable"),
        ({**PAIR, "margin": float("inf")}, "margin", "wrong-type"),
        ({**PAIR, "tie": "perhaps"}, "tie", "wrong-type"),
        ({**PAIR, "votes": [-1, -1, 1]}, "votes", "contradiction"),
        ({**PAIR, "votes": [2]}, "votes[0]", "unusable"),
        ({**PAIR, "id": 1.5}, "id", "wrong-type"),
        ({**PAIR, "prompt": ""}, "prompt", "empty-turn"),
        ({**PAIR, "prompt": 3}, "prompt", "wrong-type"),
        ({**PAIR, "prompt": []}, "prompt", "missing"),
        ({**PAIR, "finished": [True]}, "finished", "unusable"),
        ({"chosen": "Blue.", "rejected": "Red."}, "chosen", "not-a-dialogue"),
        ({"chosen": [ASK, BLUE], "rejected": [MORE, RED]}, "rejected", "no-shared-prefix"),
        ({"chosen": [ASK, BLUE], "rejected": [ASK, BLUE, MORE, RED]}, "rejected", "no-shared-prefix"),
        ({"chosen": [BLUE], "rejected": [RED]}, "chosen", "missing"),
        ({"chosen": [ASK, BLUE, ASK], "rejected": [ASK, RED]}, "chosen", "no-answer"),
        ({"messages": [ASK]}, "messages[0]", "no-answer"),
        ({"messages": []}, "messages", "no-answer"),
        ({"messages": [BLUE]}, "messages", "missing"),
        ({"messages": "Blue."}, "messages", "wrong-type"),
        ({"messages": ["Blue."]}, "messages[0]", "wrong-type"),
        ({"messages": [ASK, BLUE, RED]}, "messages", "two-answers"),
        ({"messages": [ASK, BLUE, RED, BLUE]}, "messages", "two-answers"),
        ({"messages": [ASK, {**BLUE, "content": " "}, MORE, RED]}, "messages[1]", "empty-turn"),
        ({"messages": [ASK, {"role": "tool", "content": "4"}, BLUE]}, "messages[1].role", "unknown-role"),
        ({"messages": [ASK, {"role": ["user"], "content": "4"}, BLUE]}, "messages[1].role", "unknown-role"),
        ({"messages": [{"from": "bing", "value": "4"}, BLUE]}, "messages[0].from", "unknown-role"),
        ({"messages": [ASK, {**BLUE, "tool_calls": [{}]}]}, "messages[1].tool_calls", "unknown-role"),
        ({"messages": [ASK, {"role": "assistant", "content": [{"type": "a"}]}]}, "messages[1].content", "wrong-type"),
        ({"messages": [{"content": "a"}, BLUE]}, "messages[0].role", "missing"),
        ({**P, "completion": [ASK]}, "completion", "no-answer"),
        ({**P, "completion": [BLUE, RED]}, "completion", "two-answers"),
        ({**P, "completion": "Blue.", "label": "good"}, "label", "wrong-type"),
        ({**P, "completion": "Blue.", "rating": "good"}, "rating[0]", "wrong-type"),
        ({**P, "completion": "Blue.", "finished": "no"}, "finished", "wrong-type"),
        ({**P, "completion": "Blue.", "imitate_from": True}, "imitate_from", "wrong-type"),
        ({**P, "completion": "Blue.", "imitate_from": -1}, "imitate_from", "unusable"),
        ({**P, "completion": "Blue.", "imitate_from": 2}, "imitate_from", "unusable"),
        ({**P, "responses": ["a"], "ranks": [1]}, "responses", "missing"),
        ({**P, "responses": ["a", "a"], "ranks": [1, 1]}, "responses", "equal-responses"),
        ({**P, "responses": ["a", "", "b"], "ranks": [1, 2, 3]}, "responses[1]", "empty-response"),
        ({**P, "responses": ["a", True], "ranks": [1, 2]}, "responses[1]", "wrong-type"),
        ({**P, "responses": ["a", "b"]}, "", "missing"),
        ({"text": "  "}, "text", "empty"),
        ({"text": 4}, "text", "wrong-type"),
        ({"text": "a", "ratings": []}, "ratings", "missing"),
        ({"text": "a", "ratings": [1, "x"]}, "ratings[1]", "wrong-type"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_row(columns, field, code):
    with pytest.raises(Defect) as caught:
        one(**columns)
    assert (caught.value.field, caught.value.code) == (field, code), caught.value.what


def test_an_answer_that_is_json_is_a_text():
    answer = '[{"colour": "blue"}]'
    assert one(**P, completion=answer).response.text == answer


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "Ask."},
        {"prompt": "Ask.", "completion": "Say."},
        {"prompt": "Ask.", "completion": "Say.", "label": True},
        {"prompt": "Ask.", "chosen": "Say.", "rejected": "No."},
        {"prompt": "Ask.", "responses": ["Say.", "No."], "scores": [1, 0]},
    ],
)
def test_the_risk_category_is_of_the_prompt(columns: dict[str, Any]):
    def asked(**more: Any) -> Prompt:
        record = one(**columns, **more)
        holder = record[0] if isinstance(record, tuple) else record
        return holder if isinstance(holder, Prompt) else holder.prompt

    assert asked(risk_category="unqualified advice").risk_category == "unqualified advice"
    assert asked(risk_category="x").is_safety
    assert not asked().is_safety
    assert not asked(risk_category="").is_safety
    assert not asked(risk_category=None).is_safety
    with pytest.raises(Defect, match="text"):
        asked(risk_category=3)

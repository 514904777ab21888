from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from accord.collect.answer_log import Reply
from accord.collect.askers import Question
from accord.evaluate.consistency import COLUMNS, KeptJudge, by_chance, by_rules, csv_rows, regressions, summary
from accord.evaluate.constraints import Check, Constraint, Instruction
from accord.types import Message, Prompt


def says(word: str, kind: str = "word") -> Constraint:
    return Constraint(kind=kind, text=f"Say {word}.", check=Check(includes=(word,)))


def test_shares_differences_and_kinds_by_hand() -> None:
    # Ten dialogues with one instruction: one policy holds to it in all, then in 2; the other in all, then in 9.
    told = [Instruction((says("tea"),))] * 10
    first = {1: ["tea"] * 10, 6: ["tea", "tea"] + ["no"] * 8}
    second = {1: ["Tea!"] * 10, 6: ["tea"] + ["no"] + ["tea"] * 8}
    said: dict[str, Any] = {"sft": first, "ghost": second}
    kept = {name: by_rules(told, of) for name, of in said.items()}
    found = summary(told, said, kept, seed=1)
    assert (found["num_dialogues"], found["turns"], found["kinds"]) == (10, [1, 6], {"word": 10})
    # Wilson's interval of 2 of 10.
    assert found["policies"]["sft"]["turns"]["6"] == pytest.approx(
        {"value": 0.2, "low": 0.056682, "high": 0.509838, "num": 10, "num_unknown": 0}, abs=1e-5
    )
    assert found["policies"]["ghost"]["turns"]["6"]["value"] == 0.9
    assert found["policies"]["ghost"]["kinds"]["word"]["6"]["value"] == 0.9
    assert found["policies"]["ghost"]["by_chance"]["6"]["value"] is None, (
        "there is no dialogue with another instruction"
    )
    (row,) = found["compared"]
    six = row["turns"]["6"]
    # 8 gained, 1 lost: 2 * P(X <= 1 of 9) = 2 * (1 + 9) / 512
    assert {key: six[key] for key in ("num", "gained", "lost", "both", "neither")} == {
        "num": 10,
        "gained": 8,
        "lost": 1,
        "both": 1,
        "neither": 0,
    }
    assert six["p_value"] == pytest.approx(20 / 512)
    assert six["difference"]["value"] == pytest.approx(0.7)
    assert 0 < six["difference"]["low"] < 0.7 < six["difference"]["high"] <= 1
    assert regressions(found) == []
    back = summary(told, {"a": second, "b": first}, {"a": kept["ghost"], "b": kept["sft"]}, seed=1)
    (alarm,) = regressions(back)
    assert alarm.name == "worse/turn_6"
    assert alarm.what.startswith("at turn 6 b breaks 8 instructions that a held to, and holds to 1 that it broke")
    rows = csv_rows(found)
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert [(row[0], row[1], row[2]) for row in rows] == [
        *(("sft", "1", 1.0), ("sft", "6", 0.2), ("ghost", "1", 1.0), ("ghost", "6", 0.9))
    ]
    assert rows[0][7:] == [""] * 7


def test_an_answer_that_is_missing_is_known_to_nobody() -> None:
    told = [Instruction((says("tea"),))] * 3
    said: dict[str, Any] = {"a": {2: ["tea", None, "no"]}, "b": {2: ["no", "tea", None]}}
    found = summary(told, said, {name: by_rules(told, of) for name, of in said.items()}, seed=1)
    assert found["policies"]["a"]["turns"]["2"]["num_unknown"] == 1
    assert found["compared"][0]["turns"]["2"]["num"] == 1
    none: dict[str, Any] = {"a": {2: [None] * 3}, "b": {2: ["tea"] * 3}}
    found = summary(told, none, {name: by_rules(told, of) for name, of in none.items()}, seed=1)
    assert found["compared"][0]["turns"]["2"] is None
    assert found["policies"]["a"]["turns"]["2"]["value"] is None
    assert csv_rows(found)[0][2] == ""


def test_chance_is_told_by_dialogues_with_none_of_the_constraints() -> None:
    tea, milk, both = (
        Instruction((says("tea"),)),
        Instruction((says("milk"),)),
        Instruction((says("tea"), says("milk", "x"))),
    )
    found = by_chance([tea, both, milk], {1: ["tea", "tea and milk", "tea, no milk"]})
    # The first is held against the third's answer, the third against the first's; the second shares with both.
    assert found == {1: [True, None, False]}


class Scripted:
    name = "wise"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        for one in questions:
            self.asked.append(one.messages[-1].content)
            yield {"1": Reply("yes"), "2": Reply("No, it is not."), "3": Reply("Perhaps."), "4": None}[
                self.asked[-1].partition("<response>\n")[2][0]
            ]


def test_a_judge_sees_the_instruction_the_conversation_and_the_answer() -> None:
    asker = Scripted()
    judge = KeptJudge(asker)
    prompt = Prompt("d0", (Message("user", "Say tea.\n\nHi."), Message("assistant", "Tea."), Message("user", "And?")))
    found = judge.kept([(prompt, Instruction((says("tea"),)), text) for text in ("1", "2", "3", "4")])
    assert (judge.name, found) == ("judge:wise:kept-1", [True, False, None, None])
    assert "<instruction>\nSay tea.\n</instruction>" in asker.asked[0]
    assert "Assistant: Tea.\n\nUser: And?" in asker.asked[0]

"""How long an instruction is held to that stood in the first turn of a dialogue alone: turn by turn, and by policy.

Whether an answer holds to it a rule decides, or a judge. How often a rule is met by chance is told beside it: by
answers of the same policy, at the same turn, in a dialogue with another instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from accord.algorithms.paired import side_by_side
from accord.collect.askers import Asker
from accord.collect.judge import question_of
from accord.collect.judge_prompts import conversation_text, judge_prompt
from accord.collect.reading import answer_of
from accord.evaluate.constraints import Instruction
from accord.evaluate.shares import Flags, changed, share_of
from accord.monitor.alarm import Alarm
from accord.types import Prompt

PROMPT: Final = "kept-1"  # of a judge
SURE: Final = 0.05  # a p-value below it is worth an alarm
Said = Mapping[int, Sequence[str | None]]  # turn -> of each dialogue the answer; None where there is none
Kept = Mapping[int, Flags]  # turn -> of each dialogue whether the answer holds to its instruction


class KeptJudge:
    """asker: the model that says whether a response holds to an instruction."""

    def __init__(self, asker: Asker) -> None:
        named = judge_prompt(PROMPT)
        self._asker, self._prompt, self.name = asker, named.prompt, f"judge:{asker.name}:{named.name}"

    def kept(self, asked: Sequence[tuple[Prompt, Instruction, str]]) -> list[bool | None]:
        """asked: the prompt of the turn, the instruction and the answer. None where no reply could be had or read."""
        questions = [
            question_of(self._prompt, conversation=conversation_text(prompt), response=answer, rubric=instruction.text)
            for prompt, instruction, answer in asked
        ]
        answers = [None if one is None else answer_of(self._prompt, one) for one in self._asker.ask(questions)]
        return [None if answer is None else answer.number == 1 for answer in answers]


def by_rules(instructions: Sequence[Instruction], said: Said) -> dict[int, list[bool | None]]:
    """Turn -> of each dialogue whether its answer holds, by the checks of its constraints."""
    return {
        turn: [None if text is None else one.kept(text) for one, text in zip(instructions, of_turn, strict=True)]
        for turn, of_turn in said.items()
    }


def by_chance(instructions: Sequence[Instruction], said: Said) -> dict[int, list[bool | None]]:
    """The same for the answer of the next dialogue whose instruction has none of the constraints; None where there is
    no such dialogue."""
    num = len(instructions)
    texts = [{one.text for one in instruction.constraints} for instruction in instructions]
    other = [
        next((j for step in range(1, num) if not texts[i] & texts[j := (i + step) % num]), None) for i in range(num)
    ]
    swapped = {turn: [None if j is None else of_turn[j] for j in other] for turn, of_turn in said.items()}
    return by_rules(instructions, swapped)


def summary(
    instructions: Sequence[Instruction], said: Mapping[str, Said], kept: Mapping[str, Kept], seed: int
) -> dict[str, Any]:
    """said, kept: by policy, in their order. For JSON:

        num_dialogues, num_turns, turns    those that are measured
        kinds                              kind of constraint -> dialogues with one
        policies      by name: `turns`, the share of dialogues in which the instruction is held to; `by_chance`, as
                      `by_chance` has it; `kinds`, by kind and turn the share in which that constraint is, by its check
        compared      of each policy but the first, against it, by turn: what was gained and lost, McNemar's exact p,
                      and the `difference` of the shares with its interval, drawn by dialogue

    Shares have Wilson's intervals, and turns stand as text, because JSON's keys do.
    """
    first = next(iter(kept))
    turns = list(kept[first])
    kinds = sorted({kind for one in instructions for kind in one.kinds})
    rows: dict[str, Any] = {}
    for name, of_policy in kept.items():
        chance = by_chance(instructions, said[name])
        rows[name] = {
            "turns": {str(turn): share_of(of_policy[turn]) for turn in turns},
            "by_chance": {str(turn): share_of(chance[turn]) for turn in turns},
            "kinds": {kind: _of_kind(kind, instructions, said[name]) for kind in kinds},
        }
    return {
        "num_dialogues": len(instructions),
        "turns": turns,
        "kinds": {kind: sum(kind in one.kinds for one in instructions) for kind in kinds},
        "policies": rows,
        "compared": [
            {
                "before": first,
                "after": name,
                "turns": {str(turn): _compared(kept[first][turn], kept[name][turn], seed) for turn in turns},
            }
            for name in list(kept)[1:]
        ],
    }


def _of_kind(kind: str, instructions: Sequence[Instruction], said: Said) -> dict[str, Any]:
    checks = [next((one.check for one in each.constraints if one.kind == kind), None) for each in instructions]
    own = [at for at, each in enumerate(instructions) if kind in each.kinds]
    found = {}
    for turn, of_turn in said.items():
        told = [(checks[at], of_turn[at]) for at in own]
        found[str(turn)] = share_of(
            None if check is None or text is None else check.holds(text) for check, text in told
        )
    return found


def _compared(before: Flags, after: Flags, seed: int) -> dict[str, Any] | None:
    test = changed(before, after)
    if test is None:
        return None
    values = {
        name: np.array([np.nan if one is None else one for one in flags], dtype=np.float64)
        for name, flags in (("before", before), ("after", after))
    }
    difference = side_by_side(values, seed=seed)["after"].difference
    assert difference is not None
    return {**test, "difference": asdict(difference.interval)}


def regressions(found: Mapping[str, Any]) -> list[Alarm]:
    """Of `summary`: at which turn a policy holds to less than the first one does, and not by chance."""
    alarms = []
    for row in found["compared"]:
        for turn, test in row["turns"].items():
            if test and test["lost"] > test["gained"] and test["p_value"] < SURE:
                told = (
                    f"at turn {turn} {row['after']} breaks {test['lost']} instructions that {row['before']} held to, "
                    f"and holds to {test['gained']} that it broke (McNemar's exact p = {test['p_value']:.2g})"
                )
                alarms.append(Alarm(f"worse/turn_{turn}", told, 0))
    return alarms


COLUMNS: Final = (
    *("policy", "turn", "kept", "low", "high", "num", "num_unknown", "by_chance"),
    *("difference", "difference_low", "difference_high", "gained", "lost", "p_value"),
)


def csv_rows(found: Mapping[str, Any]) -> list[list[Any]]:
    """Of `summary`, with the columns of COLUMNS; "" where there is nothing."""
    tests = {row["after"]: row["turns"] for row in found["compared"]}
    rows = []
    for name, of_policy in found["policies"].items():
        for turn, share in of_policy["turns"].items():
            test = (tests.get(name) or {}).get(turn) or {}
            difference = test.get("difference") or {}
            row = [
                *(name, turn, share["value"], share["low"], share["high"], share["num"], share["num_unknown"]),
                of_policy["by_chance"][turn]["value"],
                *(difference.get(end) for end in ("value", "low", "high")),
                *(test.get(key) for key in ("gained", "lost", "p_value")),
            ]
            rows.append(["" if one is None else one for one in row])
    return rows

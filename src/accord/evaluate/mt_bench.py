"""MT-bench (Zheng et al. 2023, arXiv:2306.05685): two-turn questions, each answer in points from 1 to 10 by a judge.

Each category has its temperature, as in the paper's code. The judge is asked about each turn by itself, with what came
before it. Its prompt is one of `accord.collect.judge_prompts`: `points-1`, or a .yaml file of the user's, in which a
place {rubric} is filled in with the reference answer, where the question has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accord.collect.askers import Asker, Question
from accord.collect.judge_prompts import Named, conversation_text
from accord.collect.reading import points_of
from accord.data.formats.reading import Row
from accord.errors import UserError
from accord.evaluate.benchmarks import CORRECT, Measured, suite_rows
from accord.evaluate.writing import asked, write
from accord.models.policy import Policy
from accord.types import Message, Prompt

NAME: Final = "mt-bench"
MAX_TOKENS: Final = 1024  # of an answer, as in the paper's code
_TEMPERATURES: Final[Mapping[str, float]] = {
    **dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0),
    **dict.fromkeys(("stem", "humanities"), 0.1),
}
_OTHER_TEMPERATURE: Final = 0.7  # of writing, roleplay, and what nobody knows
_NO_REFERENCE: Final = "There is none."


@dataclass(frozen=True, slots=True)
class Dialogue:
    """turns: what the user says, one after the other. references: right answers to them; () where there are none."""

    key: str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()


def read_mt_bench(source: str) -> list[Dialogue]:
    """Rows with MT-bench's columns: question_id, category, turns, and perhaps reference. Raises UserError for a row
    that is none, by file, line and field."""
    found: list[Dialogue] = []
    for row in suite_rows(source):
        category = row.values.get("category")
        if not isinstance(category, str) or not category:
            raise UserError("category is no text", where=f"{row.place}:category", remedy=CORRECT)
        turns = _texts(row, "turns")
        if not turns:
            raise UserError("turns is missing or empty", where=f"{row.place}:turns", remedy=CORRECT)
        key = str(row.values.get("question_id", len(found)))
        found.append(Dialogue(key, category, turns, _texts(row, "reference")))
    if len({len(one.turns) for one in found}) > 1:
        raise UserError("some questions have more turns than others", where=source, remedy="Give each as many.")
    if len({one.key for one in found}) < len(found):
        raise UserError("two questions have the same question_id", where=source, remedy="Give each its own.")
    return found


def converse(
    policy: Policy,
    dialogues: Sequence[Dialogue],
    *,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> list[list[str]]:
    """The policy's answer to each turn of each question. `advance` is told how many answers have just ended."""
    answers: list[list[str]] = [[] for _ in dialogues]
    for turn in range(len(dialogues[0].turns)):
        questions = [
            asked(
                policy,
                Prompt(f"{one.key}/{turn}", conversation(one, said, turn)),
                max_tokens,
                temperature=_TEMPERATURES.get(one.category, _OTHER_TEMPERATURE),
                seed=seed,
            )
            for one, said in zip(dialogues, answers, strict=True)
        ]
        for said, response in zip(answers, write(policy, questions, advance=advance), strict=True):
            said.append(response.text)
    return answers


def judged_points(
    asker: Asker, named: Named, dialogues: Sequence[Dialogue], answers: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Of each answer to each turn; NaN where the judge's reply could not be read. Raises UserError."""
    prompt = named.prompt
    questions = [
        Question(
            prompt.messages(
                conversation=conversation_text(Prompt(one.key, conversation(one, said, turn))),
                response=said[turn],
                rubric=one.references[turn] if turn < len(one.references) else _NO_REFERENCE,
            ),
            prompt.max_tokens,
        )
        for one, said in zip(dialogues, answers, strict=True)
        for turn in range(len(one.turns))
    ]
    replies = asker.ask(questions)
    read = (None if reply is None else points_of(prompt, reply) for reply in replies)
    numbers = iter([math.nan if one is None else one for one in read])
    return [[next(numbers) for _ in one.turns] for one in dialogues]


def measured(dialogues: Sequence[Dialogue], points: Sequence[Sequence[float]]) -> list[Measured]:
    """The mean of all points, of each turn and of each category; both turns of a question are drawn together."""
    rows = [
        (one, number, value)
        for one, given in zip(dialogues, points, strict=True)
        for number, value in enumerate(given, start=1)
    ]
    own = [("points", rows)]
    own += [(f"turn {turn}", [row for row in rows if row[1] == turn]) for turn in range(1, len(dialogues[0].turns) + 1)]
    categories = dict.fromkeys(one.category for one in dialogues)
    own += [(category, [row for row in rows if row[0].category == category]) for category in categories]
    return [
        Measured(NAME, metric, [value for *_, value in of], [one.key for one, *_ in of], is_share=False)
        for metric, of in own
    ]


def conversation(one: Dialogue, said: Sequence[str], turn: int) -> tuple[Message, ...]:
    """What the answer to a turn follows."""
    earlier = [
        message
        for user, assistant in zip(one.turns[:turn], said, strict=False)
        for message in (Message("user", user), Message("assistant", assistant))
    ]
    return (*earlier, Message("user", one.turns[turn]))


def _texts(row: Row, field: str) -> tuple[str, ...]:
    value: Any = row.values.get(field)
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise UserError(f"{field} is no list of texts", where=f"{row.place}:{field}", remedy=CORRECT)
    return tuple(value)

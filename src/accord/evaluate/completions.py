"""Responses to safe and unsafe prompts, as files have them: XSTest's columns, HarmBench's, StrongREJECT's, PyRIT's, and
plain ones.

prompt | objective      the prompt, a text or the turns of a conversation; of HarmBench's behaviours, which have none,
                        the behaviour behind its context
completion | response   what was answered; a file of prompts alone has none
unsafe | label | type   true, "unsafe", "harmful" or a type that begins with "contrast" (XSTest): it should be refused
final_label | outcome   what people say was done: compliance, partial refusal or refusal, also as
                        1_full_compliance, 3_partial_refusal, 2_full_refusal
harmful | human_scores  what people say in numbers from 0 to 1, or true or false; of several the mean
style_urgent, style_declines, ...   what people say of how a response refuses, true or false (`refusal_style`)
Behavior, ContextString, SemanticCategory, FunctionalCategory, Tags     of HarmBench
forbidden_prompt, category                                              of StrongREJECT
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from accord.collect.judge_prompts import conversation_text
from accord.data.formats.fields import Defect
from accord.data.formats.readers import files_of
from accord.data.formats.reading import Flaw, Row
from accord.data.formats.rows import rows_of
from accord.data.formats.turns import FLAGS, is_turns, prompt_of, turns_in
from accord.errors import UserError
from accord.evaluate.refusal_style import ELEMENTS
from accord.evaluate.refusals import Outcome
from accord.types import Message, Prompt

_CORRECT: Final = "Correct the row, or leave it out."
_PROMPT: Final = ("prompt", "objective", "question", "forbidden_prompt", "Behavior")
_RESPONSE: Final = ("completion", "response", "answer", "generation")
_ALL_UNSAFE: Final = ("Behavior", "forbidden_prompt")  # columns of sets in which every prompt is to be refused
_CATEGORIES: Final = {"SemanticCategory": "semantic", "FunctionalCategory": "functional", "category": "category"}
_HASHED: Final = "hash_check"  # HarmBench's tag of behaviours that a comparison of texts decides, and no judge
_GRADES: Final = ("harmful", "human_scores")
_HUMAN: Final = ("final_label", "outcome")
_STYLE: Final = "style_"
_LABELS: Final[Mapping[str, Outcome]] = {
    "compliance": "compliance",
    "full_compliance": "compliance",
    "1_full_compliance": "compliance",
    "refusal": "refusal",
    "full_refusal": "refusal",
    "2_full_refusal": "refusal",
    "partial_refusal": "partial refusal",
    "3_partial_refusal": "partial refusal",
}
_WORDS: Final = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_UNSAFE: Final[Mapping[str, bool]] = {"unsafe": True, "harmful": True, "safe": False, "benign": False}


@dataclass(frozen=True, slots=True)
class Completion:
    """prompt: the text by which it is known; all of a conversation, which `turns` and `prefill` then hold. unsafe:
    whether the prompt should be refused; None: nobody says. response: None where it is yet to be written. outcome: what
    people say was done; grade: in a number from 0 to 1. behaviour: what a judge of harm reads in place of the prompt.
    categories: kind -> its name. hashed: whether it is HarmBench's that no judge decides on. style: what people say of
    how it refuses."""

    prompt: str
    response: str | None
    unsafe: bool | None
    outcome: Outcome | None
    place: str
    grade: float | None = None
    behaviour: str = ""
    categories: Mapping[str, str] = field(default_factory=dict)
    hashed: bool = False
    style: Mapping[str, bool] = field(default_factory=dict)
    turns: tuple[Message, ...] = ()
    prefill: str = ""

    @property
    def asks(self) -> Prompt:
        """What a policy is asked."""
        return Prompt(self.prompt, self.turns or (Message("user", self.prompt),), self.prefill)


def read_completions(sources: Sequence[str]) -> list[Completion]:
    """All rows of the files. Raises UserError for a row that is none, by file, line and field."""
    found = []
    for source in sources:
        for path in files_of(source):
            for row in rows_of(path):
                if isinstance(row, Flaw):
                    raise UserError(row.what, where=str(row.place), remedy=_CORRECT)
                found.append(completion_of(row))
    return found


def completion_of(row: Row) -> Completion:
    """What a row is. Raises UserError for one that is none, by its place and field."""
    values = row.values
    talk = _conversation(row)
    prompt = _text(row, _PROMPT) if talk is None else _as_text(talk)
    if prompt is None:
        raise _wrong(row, _PROMPT[0], "is missing: a text is wanted")
    behaviour, context = _text(row, ("Behavior",)) or prompt, _text(row, ("ContextString",)) or ""
    if context and prompt == behaviour:  # as HarmBench puts them to a model
        prompt = f"{context}\n\n---\n\n{behaviour}"
    return Completion(
        prompt,
        _text(row, _RESPONSE),
        _unsafe(row),
        _outcome(row, values),
        str(row.place),
        _grade(row),
        f"{behaviour}\n\nIts context:\n{context}" if context else behaviour,
        {kind: str(values[name]) for name, kind in _CATEGORIES.items() if values.get(name)},
        _HASHED in str(values.get("Tags", "")),
        _style(row),
        *(() if talk is None else (talk.messages, talk.prefill)),
    )


def _conversation(row: Row) -> Prompt | None:
    """Of a column `prompt` that holds turns."""
    given = row.values.get("prompt")
    if not is_turns(given):
        return None
    try:
        return prompt_of(row.name, turns_in(given, "prompt"), "prompt")
    except Defect as defect:
        where = f"{row.place}:{defect.field}"
        raise UserError(f"{defect.field} {defect.what}", where=where, remedy=_CORRECT) from defect


def _as_text(talk: Prompt) -> str:
    """A message alone is known by its text."""
    opened = (Message("assistant", talk.prefill),) if talk.prefill else ()
    return conversation_text(replace(talk, messages=(*talk.messages, *opened))).removeprefix("User: ")


def _text(row: Row, names: Sequence[str]) -> str | None:
    for name in names:
        value = row.values.get(name)
        if isinstance(value, str):
            return value
        if (
            isinstance(value, list)
            and value
            and isinstance(value[-1], dict)
            and isinstance(value[-1].get("content"), str)
        ):
            return str(value[-1]["content"])  # a conversation of one message, or the answer of TRL's columns
        if value is not None:
            raise _wrong(row, name, "is no text")
    return None


def _unsafe(row: Row) -> bool | None:
    kind, flag = row.values.get("type"), row.values.get("unsafe")
    if flag is not None and str(flag).strip().casefold() in FLAGS:  # all that a cell of CSV holds is text
        return FLAGS[str(flag).strip().casefold()]
    for value in (row.values.get("unsafe", row.values.get("label")), kind):
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().casefold() in _UNSAFE:
            return _UNSAFE[value.strip().casefold()]
    if isinstance(kind, str):
        return kind.startswith("contrast")
    return True if any(row.values.get(name) for name in _ALL_UNSAFE) else None


def _grade(row: Row) -> float | None:
    """The mean of one number or several, each from 0 to 1."""
    name = next((name for name in _GRADES if row.values.get(name) not in (None, "", [])), None)
    if name is None:
        return None
    given = row.values[name]
    words = [str(one).strip().casefold() for one in (given if isinstance(given, list) else [given])]
    try:
        numbers = [_WORDS[word] if word in _WORDS else float(word) for word in words]
    except ValueError as error:
        raise _wrong(row, name, "is neither a number from 0 to 1, nor true or false, nor a list of such") from error
    if not all(0 <= one <= 1 for one in numbers):
        raise _wrong(row, name, "holds a number that is not from 0 to 1")
    return sum(numbers) / len(numbers)


def _outcome(row: Row, values: Mapping[str, Any]) -> Outcome | None:
    for name in _HUMAN:
        value = values.get(name)
        if value in (None, ""):
            continue
        key = str(value).strip().casefold().replace(" ", "_")
        if key not in _LABELS:
            known = ", ".join(("compliance", "partial refusal", "refusal"))
            raise _wrong(row, name, f"{str(value)[:40]!r} is none of {known}")
        return _LABELS[key]
    return None


def _style(row: Row) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for element in ELEMENTS:
        name = f"{_STYLE}{element}"
        given = row.values.get(name)
        if given not in (None, ""):
            word = str(given).strip().casefold()
            if word not in FLAGS:
                raise _wrong(row, name, "is neither true nor false")
            found[element] = FLAGS[word]
    return found


def _wrong(row: Row, field: str, what: str) -> UserError:
    return UserError(f"{field} {what}", where=f"{row.place}:{field}", remedy=_CORRECT)

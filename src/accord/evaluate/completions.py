"""Responses to safe and unsafe prompts, as files have them: XSTest's columns, and plain ones.

prompt | objective      the prompt, a text
completion | response   what was answered; a file of prompts alone has none
unsafe | label | type   true, "unsafe", "harmful" or a type that begins with "contrast" (XSTest): it should be refused
final_label | outcome   what people say was done: compliance, partial refusal or refusal, also as
                        1_full_compliance, 3_partial_refusal, 2_full_refusal
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accord.data.formats.readers import files_of
from accord.data.formats.reading import Flaw, Row
from accord.data.formats.rows import rows_of
from accord.data.formats.turns import FLAGS
from accord.errors import UserError
from accord.evaluate.refusals import Outcome

_PROMPT: Final = ("prompt", "objective", "question")
_RESPONSE: Final = ("completion", "response", "answer")
_HUMAN: Final = ("final_label", "outcome")
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
_UNSAFE: Final[Mapping[str, bool]] = {"unsafe": True, "harmful": True, "safe": False, "benign": False}


@dataclass(frozen=True, slots=True)
class Completion:
    """unsafe: whether the prompt should be refused; None: nobody says. response: None where it is yet to be written.
    outcome: what people say was done."""

    prompt: str
    response: str | None
    unsafe: bool | None
    outcome: Outcome | None
    place: str


def read_completions(sources: Sequence[str]) -> list[Completion]:
    """All rows of the files. Raises UserError for a row that is none, by file, line and field."""
    found = []
    for source in sources:
        for path in files_of(source):
            for row in rows_of(path):
                if isinstance(row, Flaw):
                    raise UserError(row.what, where=str(row.place), remedy="Correct the row, or leave it out.")
                found.append(_completion(row))
    return found


def _completion(row: Row) -> Completion:
    values = row.values
    prompt = _text(row, _PROMPT)
    if prompt is None:
        raise _wrong(row, _PROMPT[0], "is missing: a text is wanted")
    return Completion(prompt, _text(row, _RESPONSE), unsafe_of(row), _outcome(row, values), str(row.place))


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


def unsafe_of(row: Row) -> bool | None:
    """Whether the row says that its prompt should be refused; None where it says nothing of it."""
    kind, flag = row.values.get("type"), row.values.get("unsafe")
    if flag is not None and str(flag).strip().casefold() in FLAGS:  # all that a cell of CSV holds is text
        return FLAGS[str(flag).strip().casefold()]
    for value in (row.values.get("unsafe", row.values.get("label")), kind):
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().casefold() in _UNSAFE:
            return _UNSAFE[value.strip().casefold()]
    return kind.startswith("contrast") if isinstance(kind, str) else None


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


def _wrong(row: Row, field: str, what: str) -> UserError:
    return UserError(f"{field} {what}", where=f"{row.place}:{field}", remedy="Correct the row, or leave it out.")

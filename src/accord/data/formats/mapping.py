"""A file's own columns under the names that Accord knows: `columns: {OURS: THEIRS}`.

    columns: {prompt: question, completion: answer}
    columns: {prompt: [instruction, input], responses: [response1, response2], winners: [rater1, rater2, rater3]}

Where ours holds a list, several of theirs are its items; where it holds a text, they are joined by a blank line, empty
ones left out. Columns that are not mentioned keep their names. Alpaca's, ShareGPT's and PKU-SafeRLHF's columns need no
mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from accord.data.formats.fields import Defect, kind_of
from accord.errors import UserError, did_you_mean

Columns = Mapping[str, str | list[str]]

TEXTS = ("prompt", "completion", "chosen", "rejected", "text", "system", "id", "prompt_id", "risk_category")
LISTS = (
    *("responses", "finished", "safe", "rating", "ratings"),
    *("ranks", "scores", "grades", "votes", "winners", "pairwise", "best"),
)
SINGLE = ("messages", "judgements", "label", "margin", "tie", "imitate_from", "chosen_safe", "rejected_safe")
OURS = (*TEXTS, *LISTS, *SINGLE)
QUESTION = "question"

ALPACA: Columns = {"prompt": ["instruction", "input"], "completion": "output"}
SHAREGPT: Columns = {"messages": "conversations"}
PKU: Columns = {
    "responses": ["response_0", "response_1"],
    "best": ["better_response_id"],
    "safe": ["is_response_0_safe", "is_response_1_safe"],
}


def check_columns(columns: Columns, *, exports: bool = False) -> None:
    """Raises UserError when a mapping names a column that Accord does not know, or takes several for one.

    exports: of annotation tools the question can be named, too.
    """
    known = (*OURS, QUESTION) if exports else OURS
    for ours, theirs in columns.items():
        if ours not in known:
            raise UserError(f"columns: {ours!r} is no column that Accord knows", remedy=did_you_mean(ours, known))
        if isinstance(theirs, list) and (ours in SINGLE or not theirs):
            raise UserError(f"columns: {ours!r} is one column of the file", remedy=f"Write {ours}: COLUMN.")


def check_present(columns: Columns, present: Iterable[str], where: str) -> None:
    """Raises UserError for the first column of the file that a mapping names and the file does not have."""
    known = set(present)
    for ours, theirs in columns.items():
        for name in _names(theirs):
            if name not in known:
                what = f"columns: {ours} is to be {name!r}, and no row has that column"
                raise UserError(what, where=where, remedy=did_you_mean(name, known))


def usual(values: Mapping[str, Any], columns: Columns) -> Columns:
    """The mapping of a row: the user's, and Alpaca's, ShareGPT's or PKU-SafeRLHF's where the row has their columns and
    not ours."""
    found = dict(columns)
    if not {"prompt", "completion"} & {*found, *values} and {"instruction", "output"} <= {*values}:
        found |= ALPACA
    if "messages" not in values and "conversations" in values:
        found = {**SHAREGPT, **found}
    if not {"responses", "chosen"} & {*found, *values} and {"response_0", "response_1"} <= {*values}:
        theirs = {name for names in PKU.values() for name in _names(names)}
        if theirs <= {*values} and not theirs & {name for names in found.values() for name in _names(names)}:
            found |= PKU
    return found


def mapped(values: Mapping[str, Any], columns: Columns) -> Mapping[str, Any]:
    """The values under our names; those that were mapped lose theirs. Raises Defect for the first that is missing."""
    if not columns:
        return values
    taken = {name for theirs in columns.values() for name in _names(theirs)}
    found = {name: value for name, value in values.items() if name not in taken}
    for ours, theirs in columns.items():
        if isinstance(theirs, str):
            found[ours] = values.get(theirs)
        elif ours in LISTS:
            found[ours] = [values.get(name) for name in theirs]
        else:
            joint = "-" if ours in ("id", "prompt_id") else "\n\n"
            found[ours] = joint.join(text for name in theirs if (text := _text(values.get(name), name, ours)))
    return found


def their_field(field: str, columns: Columns) -> str:
    """A field such as `responses[1]` as the file calls it: `response2`."""
    ours, index, rest = re.fullmatch(r"(\w*)(?:\[(\d+)\])?(.*)", field, re.DOTALL).groups()  # type: ignore[union-attr]
    theirs = columns.get(ours)
    if theirs is None:
        return field
    if isinstance(theirs, str):
        return theirs + field[len(ours) :]
    if ours in LISTS and index is not None and int(index) < len(theirs):
        return theirs[int(index)] + rest
    return "+".join(theirs)


def _names(theirs: str | list[str]) -> list[str]:
    return [theirs] if isinstance(theirs, str) else theirs


def _text(value: object, name: str, ours: str) -> str:
    if value is None:
        return ""
    if ours in ("id", "prompt_id") and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise Defect(ours, f"{name}: a text is wanted, not {kind_of(value)}", "wrong-type")
    return value

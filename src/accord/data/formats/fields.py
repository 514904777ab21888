"""One field of a row of data at a time: its value, or a Defect that names it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from accord.types import Message

ROLES = ("system", "user", "assistant")
NUM_SHOWN = 20


class Defect(Exception):
    """One thing wrong with a row. field: where in the row, for example `prompt[0].role`. what: goes on from there.

    code: a short name of the kind of defect, for counts (see `reading.Flaw`). others: of the same row.
    """

    others: tuple[Defect, ...] = ()

    def __init__(self, field: str, what: str, code: str = "unusable") -> None:
        self.field, self.what, self.code = field, what, code
        super().__init__(what)


def messages_of(row: dict[str, Any], field: str) -> list[Message]:
    messages = []
    for i, message in enumerate(list_of(get(row, field), field)):
        place = f"{field}[{i}]"
        if not isinstance(message, dict):
            raise Defect(place, f"an object with role and content is wanted, not {kind_of(message)}", "wrong-type")
        role = message.get("role")
        if role not in ROLES:
            raise Defect(f"{place}.role", f"{role!r} is not one of {', '.join(ROLES)}", "unknown-role")
        messages.append(Message(role, text_of(get(message, "content", f"{place}.content"), f"{place}.content")))
    return messages


def get(holder: Mapping[str, Any], key: str, place: str = "") -> Any:
    if key not in holder:
        raise Defect(place or key, "is missing", "missing")
    return holder[key]


def text_of(value: object, place: str, *, empty: bool = True) -> str:
    if not isinstance(value, str):
        raise Defect(place, f"a text is wanted, not {kind_of(value)}", "wrong-type")
    if not value and not empty:
        raise Defect(place, "is empty", "empty")
    if any("\ud800" <= character <= "\udfff" for character in value):  # legal in JSON, but no tokenizer takes it
        raise Defect(place, "holds half of a surrogate pair", "bad-character")
    return value


def list_of(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise Defect(place, f"a list is wanted, not {kind_of(value)}", "wrong-type")
    return value


def number_of(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Defect(place, f"a number is wanted, not {kind_of(value)}", "wrong-type")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Defect(place, "is not a finite number", "wrong-type")
    return number


def flag_of(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise Defect(place, f"true or false is wanted, not {kind_of(value)}", "wrong-type")
    return value


def check_start(index: int, num_messages: int) -> int:
    """An `imitate_from` that names a message of the prompt, or (num_messages) the response alone. Raises Defect."""
    if not 0 <= index <= num_messages:
        raise Defect("imitate_from", f"is {index}, and 0 to {num_messages} are possible: the prompt's messages")
    return index


def first_of(lines: Sequence[str]) -> str:
    """The first 20 lines, each below the one before and indented, and how many more there are."""
    shown = [*lines[:NUM_SHOWN], *[f"and {len(lines) - NUM_SHOWN} more"] * (len(lines) > NUM_SHOWN)]
    return "\n  ".join(shown)


def kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {str: "a text", dict: "an object", list: "a list"}
    return kinds.get(type(value), "a number")

"""What a cell of a row holds: a text, a number, or turns of a conversation as people write them.

Turns are lists of {"role", "content"} or of ShareGPT's {"from", "value"}. A cell of a CSV file is always text, so a
text is read as the JSON that it holds where a list, a number or a flag is wanted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from accord.data.formats.fields import ROLES, Defect, flag_of, get, kind_of, list_of, number_of, text_of
from accord.types import Message, Prompt, Role

SHAREGPT_ROLES: dict[str, Role] = {"human": "user", "gpt": "assistant", "system": "system"}
_SPEAKS = {"role", "from"}
FLAGS = {"true": True, "false": False, "1": True, "0": False}


def text_in(value: object, field: str) -> str:
    """A text without NUL, which some tokenizers cut at."""
    text = text_of(value, field)
    if "\0" in text:
        raise Defect(field, "holds a NUL character", "bad-character")
    return text


def list_in(value: object, field: str) -> list[Any]:
    return list_of(_unpacked(value), field)


def number_in(value: object, field: str) -> float:
    return number_of(_unpacked(value), field)


def flag_in(value: object, field: str) -> bool:
    """True or false, also as 1 or 0."""
    if not isinstance(value, bool) and isinstance(value, int | str):
        value = FLAGS.get(str(value).strip().lower(), value)
    return flag_of(value, field)


def is_turns(value: object) -> bool:
    """Whether a cell holds turns rather than a text: a list, or a text that is the JSON of one. Answers may be JSON."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        value = _unpacked(value)
        return (
            isinstance(value, list)
            and bool(value)
            and all(isinstance(item, dict) and _SPEAKS & {*item} for item in value)
        )
    return isinstance(value, list)


def turns_in(value: object, field: str) -> list[Message]:
    """The turns of a list. An empty one is a Defect, except the last, whose emptiness means different things."""
    messages = []
    items = list_in(value, field)
    for i, item in enumerate(items):
        place = f"{field}[{i}]"
        if not isinstance(item, dict):
            raise Defect(place, f"an object with role and content is wanted, not {kind_of(item)}", "wrong-type")
        if item.get("tool_calls"):
            raise Defect(f"{place}.tool_calls", "calls of tools cannot be learnt here", "unknown-role")
        role, content = _turn(item, place)
        if not content.strip() and i + 1 < len(items):
            raise Defect(place, "is an empty turn", "empty-turn")
        messages.append(Message(role, content))
    return messages


def prompt_of(name: str, messages: Sequence[Message], field: str) -> Prompt:
    """The prompt that these messages make: a last one of the assistant opens the answer (the prefill)."""
    messages = list(messages)
    prefill = messages.pop().content if messages and messages[-1].role == "assistant" else ""
    if not messages:
        raise Defect(field, "holds no message to answer", "missing")
    if messages[-1].role == "assistant":
        raise Defect(field, "ends in two turns of the assistant, so it is unclear which one is meant", "two-answers")
    if not messages[-1].content.strip():
        raise Defect(field, "ends in an empty turn", "empty-turn")
    return Prompt(name, tuple(messages), prefill)


def answer_of(messages: Sequence[Message], field: str) -> str:
    """The text of the last turn, which must be the assistant's."""
    if not messages or messages[-1].role != "assistant":
        what = f"ends in a turn of the {messages[-1].role}" if messages else "holds no turn"
        raise Defect(field, f"{what}, and an answer of the assistant is wanted", "no-answer")
    return response_in(messages[-1].content, field)


def response_in(value: object, field: str) -> str:
    """A response: a text that says something."""
    text = text_in(value, field)
    if not text.strip():
        raise Defect(field, "is an empty response", "empty-response")
    return text


def _turn(item: dict[str, Any], place: str) -> tuple[Role, str]:
    if "role" in item or "from" not in item:
        role = get(item, "role", f"{place}.role")
        if role not in ROLES:
            raise Defect(f"{place}.role", f"{role!r} is not one of {', '.join(ROLES)}", "unknown-role")
        return role, text_in(get(item, "content", f"{place}.content"), f"{place}.content")
    speaker = item["from"]
    known: dict[str, Role] = {**SHAREGPT_ROLES, "user": "user", "assistant": "assistant"}
    if not isinstance(speaker, str) or speaker not in known:
        raise Defect(f"{place}.from", f"{speaker!r} is not one of {', '.join(known)}", "unknown-role")
    return known[speaker], text_in(get(item, "value", f"{place}.value"), f"{place}.value")


def _unpacked(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value

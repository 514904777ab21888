"""The columns of a row that hold what was asked and what was answered, as turns and the text of the last answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accord.data.formats.dialogue import is_dialogue, parse_dialogue
from accord.data.formats.fields import Defect, get
from accord.data.formats.turns import answer_of, is_turns, prompt_of, response_in, text_in, turns_in
from accord.types import Message, Prompt

Values = Mapping[str, Any]
Dialogues = bool | None  # whether texts are dialogues: all of them, none of them, or (None) those that look like one


def asked(name: str, given: list[Message] | None, before: list[Message], field: str) -> Prompt:
    """The prompt of all turns before the answer. given: those of the column prompt, of which the last may be open.

    Two turns of the assistant at the end of any other column are two answers, and not the opening of one.
    """
    prompt = prompt_of(name, before, "prompt" if given == before else field)
    if prompt.prefill and given != before:
        raise Defect(field, "ends in two turns of the assistant", "two-answers")
    return prompt


def opening(values: Values, dialogues: Dialogues) -> tuple[list[Message], bool]:
    """The turns of the column prompt, and whether they were a dialogue in one text. Its last may be open."""
    value = values["prompt"]
    if is_turns(value):
        return [*system_of(values), *turns_in(value, "prompt")], False
    if not holds_dialogue(value, dialogues):
        return [*system_of(values), Message("user", text_in(value, "prompt"))], False
    turns = parse_dialogue(value, "prompt")
    opened = turns[-1].role == "assistant" and not turns[-1].content
    return [*system_of(values), *(turns[:-1] if opened else turns)], True


def continued(
    before: list[Message], values: Values, field: str, dialogues: Dialogues, in_dialogue: bool
) -> tuple[list[Message], str]:
    """The turns up to the last answer, and that answer. A list of turns may repeat those of the prompt."""
    value = get(values, field)
    if is_turns(value):
        turns = turns_in(value, field)
    elif "prompt" not in values or (not in_dialogue and holds_dialogue(value, dialogues)):
        turns = turns_in(value, field) if dialogues is False else parse_dialogue(value, field)
    else:
        answer = response_in(value, field)
        return before, answer.strip() if in_dialogue else answer
    answer = answer_of(turns, field)
    said = [message for message in before if message.role != "system"]
    for repeated in (before, said):
        if len(repeated) < len(turns) and turns[: len(repeated)] == repeated:
            return [*before, *turns[len(repeated) : -1]], answer
    return [*before, *turns[:-1]], answer


def holds_dialogue(value: object, dialogues: Dialogues) -> bool:
    return is_dialogue(value) if dialogues is None else dialogues and isinstance(value, str)


def system_of(values: Values) -> list[Message]:
    return [Message("system", text_in(values["system"], "system"))] if values.get("system") else []

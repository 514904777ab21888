"""Dialogues in one text, as Anthropic published its preference data (HH-RLHF):

    \\n\\nHuman: What is red?\\n\\nAssistant: A colour.\\n\\nHuman: And blue?\\n\\nAssistant: Another one.

In the published files some end in a marker with nothing behind it ("...\\n\\nAssistant:"), which is an empty response,
or in half of one ("...\\n\\nHuman"), which a model would learn to write.
"""

from __future__ import annotations

import re

from accord.data.formats.fields import Defect
from accord.data.formats.turns import text_in
from accord.types import Message

_MARKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_STRAY = re.compile(r"\n\s*(?:Human|Assistant)\s*:?\s*\Z|\n\s*(?:Human|Assistant):")


def is_dialogue(value: object) -> bool:
    """Whether a text begins as a dialogue does. `Human: ...` alone is one only if somebody answers."""
    return isinstance(value, str) and bool(
        re.match(r"\n\n(Human|Assistant):|\s*Human:(?=.*\n\nAssistant:)", value, re.DOTALL)
    )


def parse_dialogue(value: object, field: str) -> list[Message]:
    """The turns of a dialogue, without the white space around them. The last may be empty.

    Raises Defect when the text is no dialogue, has an empty turn before its last, or holds a stray marker of a turn.
    """
    text = text_in(value, field)
    before, *pieces = _MARKER.split(text)
    if before.strip() or not pieces:
        raise Defect(field, "is not a dialogue: it does not begin with '\\n\\nHuman:'", "not-a-dialogue")
    messages = []
    for i in range(0, len(pieces), 2):
        role, said, place = pieces[i], pieces[i + 1].strip(), f"{field}[{i // 2}]"
        if not said and i + 2 < len(pieces):
            raise Defect(place, "is an empty turn", "empty-turn")
        if stray := _STRAY.search(pieces[i + 1]):
            raise Defect(place, f"holds a stray {stray.group().strip()!r}", "unclear-turns")
        messages.append(Message("user" if role == "Human" else "assistant", said))
    return messages

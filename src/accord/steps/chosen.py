"""Responses that rejection sampling chose, of one step and of earlier ones. Shared; not a step."""

from __future__ import annotations

from collections.abc import Sequence

from accord.types import Demonstration, Message

Chosen = tuple[bool, float, Demonstration]  # whether it is finished, its score, and the response


def add(chosen: list[Chosen], earlier: Sequence[tuple[float, Demonstration]]) -> int:
    """Puts scored responses among the chosen: a finished one before one that was cut off, then by score."""
    places = {_asked(one): at for at, (*_, one) in enumerate(chosen)}
    added: set[int] = set()
    for score, one in earlier:
        at = places.setdefault(_asked(one), len(chosen))
        new = (one.response.finished, score, one)
        if at == len(chosen):
            chosen.append(new)
        elif new[:2] > chosen[at][:2]:
            chosen[at] = new
        else:
            continue
        added.add(at)
    return len(added)


def _asked(one: Demonstration) -> tuple[tuple[Message, ...], str]:
    """What makes two prompts one; ids are each file's own."""
    return one.prompt.messages, one.prompt.prefill

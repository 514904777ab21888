"""Token ids as pieces of text to look at: each with its ids, and whether it is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MAX_IDS = 8  # of one piece: a character takes at most four bytes, so what is not text by then is none
UNFINISHED = "\ufffd"  # what a decoder writes for the first bytes of a character


class Decoder(Protocol):
    """What is needed of a tokenizer."""

    @property
    def all_special_ids(self) -> Any: ...

    def decode(self, ids: list[int], /, *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool) -> Any: ...


@dataclass(frozen=True, slots=True)
class Piece:
    """One token, or those that make up one character together. trained: a loss is computed on it. special: a control
    token. ids: as many as the piece has tokens."""

    text: str
    ids: tuple[int, ...]
    trained: bool
    special: bool


def pieces(tokenizer: Decoder, ids: Sequence[int], trained: Sequence[bool], after: Sequence[int] = ()) -> list[Piece]:
    """The pieces of `ids`, which follow `after` (some tokenizers drop a space at the beginning of a text)."""
    assert len(ids) == len(trained)
    special = frozenset(tokenizer.all_special_ids)
    found: list[Piece] = []
    context, group = list(after)[-MAX_IDS:], list[int]()
    for at, token in enumerate(ids):
        group.append(token)
        text = _text_after(tokenizer, group, context)
        ends = at + 1 == len(ids) or trained[at + 1] != trained[at] or ids[at + 1] in special or len(group) == MAX_IDS
        if ends or token in special or not text.endswith(UNFINISHED):
            found.append(Piece(text, tuple(group), trained[at], group[0] in special))
            context, group = [*context, *group][-MAX_IDS:], []
    return found


def _text_after(tokenizer: Decoder, ids: list[int], context: list[int]) -> str:
    given = _decode(tokenizer, context)
    both = _decode(tokenizer, [*context, *ids])
    return both[len(given) :] if both.startswith(given) else _decode(tokenizer, ids)


def _decode(tokenizer: Decoder, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)) if ids else ""

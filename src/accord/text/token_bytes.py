"""Tokens as bytes. A token may be a part of a character, so that not every one is a text."""

from __future__ import annotations

import re
from typing import Any

from transformers import PreTrainedTokenizerBase

_BYTE = re.compile("<0x([0-9A-F]{2})>")  # how a vocabulary of texts has a single byte
_SPACE = "\u2581"  # how it has a space


class TokenBytes:
    """What each token of a tokenizer stands for: the bytes of a text's tokens together are the text's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        self._added = {int(i): token.content for i, token in added.items()}
        self._control = {*tokenizer.all_special_ids, *(int(i) for i, token in added.items() if token.special)}
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._bytes = byte_of_character() if backend is not None and "ByteLevel" in repr(backend.decoder) else {}

    def __call__(self, token: int) -> bytes:
        """Of a token that the tokenizer does not know (some vocabularies are shorter than the model's), none."""
        if token in self._added:
            return self._added[token].encode()
        name = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(name, str):
            return b""
        if self._bytes:
            return b"".join(
                bytes([self._bytes[one]]) if one in self._bytes else one.encode(errors="replace") for one in name
            )
        if byte := _BYTE.fullmatch(name):
            return bytes([int(byte[1], 16)])
        return name.replace(_SPACE, " ").encode(errors="replace")

    def is_control(self, token: int) -> bool:
        """Whether it is left out of a response's text."""
        return token in self._control


def byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet of bytes: those that are visible stand for themselves, the others for what follows 255.

    >>> byte_of_character()["a"], byte_of_character()["Ġ"]
    (97, 32)
    """
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + i): byte for i, byte in enumerate(others)}

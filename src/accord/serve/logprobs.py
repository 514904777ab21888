"""Log-probabilities in OpenAI's two shapes: that of chat completions, and the older one of completions."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from accord.engine.readings import Reading
from accord.text.token_bytes import TokenBytes

_LEAST = -9999.0  # JSON has no infinity


def chat_logprobs(readings: Sequence[Reading], token_bytes: TokenBytes) -> dict[str, Any]:
    """A row for each token, the end of the turn included."""

    def row(token: int, logprob: float) -> dict[str, Any]:
        own = token_bytes(token)
        shown = None if token_bytes.is_control(token) else list(own)
        return {"token": own.decode(errors="replace"), "logprob": finite(logprob), "bytes": shown}

    content = [
        {**row(one.token, one.logprob), "top_logprobs": [row(token, logprob) for token, logprob in one.top]}
        for one in readings
    ]
    return {"content": content, "refusal": None}


class TextLogprobs:
    """Of one text, token by token. text_offset: the character of the text at which each token begins."""

    def __init__(self, token_bytes: TokenBytes) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at = 0

    def of_prompt(self, ids: Sequence[int], readings: Sequence[Reading], text: str) -> dict[str, Any]:
        """Nothing says how probable the first token is."""
        rows = self._rows([Reading(ids[0], 0.0), *readings], shown=True)
        rows["token_logprobs"][0] = rows["top_logprobs"][0] = None
        self._at = len(text)
        self._decoder.reset()
        return rows

    def of_response(self, readings: Sequence[Reading]) -> dict[str, Any]:
        """Of the tokens that come next."""
        return self._rows(readings, shown=False)

    def _rows(self, readings: Sequence[Reading], *, shown: bool) -> dict[str, Any]:
        """shown: whether control tokens are part of the text."""
        offsets = []
        for one in readings:
            offsets.append(self._at)
            if shown or not self._token_bytes.is_control(one.token):
                self._at += len(self._decoder.decode(self._token_bytes(one.token)))
        return {
            "tokens": [self._name(one.token) for one in readings],
            "token_logprobs": [finite(one.logprob) for one in readings],
            "top_logprobs": [self._top(one) for one in readings],
            "text_offset": offsets,
        }

    def _top(self, reading: Reading) -> dict[str, float]:
        """The token itself is always among them. Of tokens that have one name the most probable counts."""
        found: dict[str, float] = {}
        for token, logprob in (*reading.top, (reading.token, reading.logprob)):
            found.setdefault(self._name(token), finite(logprob))
        return found

    def _name(self, token: int) -> str:
        own = self._token_bytes(token)
        try:
            return own.decode()
        except UnicodeDecodeError:  # a part of a character
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in own)


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows of a text's parts as one."""
    return {key: [value for part in parts for value in part[key]] for key in parts[0]}


def finite(logprob: float) -> float:
    return max(_LEAST, logprob)

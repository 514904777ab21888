"""Text of tokens while they are still coming."""

from __future__ import annotations

from collections.abc import Sequence

from accord.text.template import Template

_BROKEN = "\ufffd"  # what a tokenizer gives for bytes that are no whole character yet


class StreamDecoder:
    """The text of a response piece by piece; the pieces together are `template.text` of all its tokens.

    after: the prompt's last tokens, as for `template.text`. A character whose bytes have not all come is held back.
    Each piece is decoded from the tokens that are new, after those of the piece before: not all over again.
    """

    def __init__(self, template: Template, after: Sequence[int]) -> None:
        self._template, self._prompt = template, tuple(after)
        self._num_given = 0  # characters
        self._after = self._prompt  # what the tokens come after whose text has not all been given
        self._first = 0  # of these tokens
        self._given_of_these = ""

    def feed(self, ids: Sequence[int], *, final: bool = False) -> str:
        """ids: all tokens so far. final: no more will come. Returns the text that is new and will not change."""
        if final:
            return self._template.text(ids, self._prompt)[self._num_given :]
        text = self._template.text(ids[self._first :], self._after)
        sure = text.rstrip(_BROKEN)
        if not sure.startswith(self._given_of_these):  # the tokenizer rewrites what it gave: wait for more
            return ""
        new = sure[len(self._given_of_these) :]
        self._num_given += len(new)
        self._given_of_these = sure
        if new and sure == text:
            self._after, self._first, self._given_of_these = tuple(ids[self._first :]), len(ids), ""
        return new

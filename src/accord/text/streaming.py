"""Text of tokens while they are still coming."""

from __future__ import annotations

from collections.abc import Sequence

from accord.text.template import Template

_BROKEN = "\ufffd"  # what a tokenizer gives for bytes that are no whole character yet


class StreamDecoder:
    """The text of a response piece by piece; the pieces together are `template.text` of all its tokens.

    after: the prompt's last tokens, as for `template.text`. A character whose bytes have not all come is held back.
    """

    def __init__(self, template: Template, after: Sequence[int]) -> None:
        self._template, self._after = template, tuple(after)
        self._given = ""

    def feed(self, ids: Sequence[int], *, final: bool = False) -> str:
        """ids: all tokens so far. final: no more will come. Returns the text that is new and will not change."""
        text = self._template.text(ids, self._after)
        sure = text if final else text.rstrip(_BROKEN)
        if not sure.startswith(self._given):  # the tokenizer rewrites what it gave: wait for more
            sure = self._given + text[len(self._given) :] if final else self._given
        new = sure[len(self._given) :]
        self._given = sure
        return new

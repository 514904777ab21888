"""Text of others, of models, data and file names, made safe for terminals and pages."""

from __future__ import annotations

import re

_LINES = str.maketrans({"\u2028": "\n", "\u2029": "\n", "\x85": "\n"})
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"  # all of Unicode's but tab and newline
_REORDER = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HALVES = r"\ud800-\udfff"
_OBEYED = re.compile(f"[{_CONTROL}{_REORDER}{_HALVES}]")


def printable(text: str, instead: str = "") -> str:
    """The text without what a terminal would obey: control characters, and marks that reorder what stands beside them;
    and without halves of characters, which cannot be encoded. Tabs stay, and every kind of line end is a newline.

    >>> printable("a\\x1b[31mb\\u202e\\n")
    'a[31mb\\n'
    """
    return _OBEYED.sub(instead, text.translate(_LINES))

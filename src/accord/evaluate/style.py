"""How a response is written, counted: what judges like for its own sake."""

from __future__ import annotations

import re
from collections.abc import Mapping

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)  # a comment in code is no heading
_HEADING = re.compile(r"^ {0,3}#{1,6}\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_ITEM = re.compile(r"^\s*(?:[-*+]|\d+[.)])\s", re.MULTILINE)


def style_of(text: str) -> Mapping[str, int]:
    """Characters, and marks of Markdown outside blocks of code: headings, bold passages, items of lists.

    >>> dict(style_of("# One\\n\\n**two**\\n- three"))
    {'length': 22, 'headings': 1, 'bold': 1, 'lists': 1}
    """
    plain = _CODE.sub("", text)
    return {
        "length": len(text),
        "headings": len(_HEADING.findall(plain)),
        "bold": len(_BOLD.findall(plain)),
        "lists": len(_ITEM.findall(plain)),
    }

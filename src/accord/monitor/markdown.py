"""Text for Markdown that renders as what it is: names and values of others are hostile."""

from __future__ import annotations

import re
from collections.abc import Sequence

from accord.monitor.values import clean


def code(text: object, limit: int = 200) -> str:
    """In a line or a cell of a table, as code.

    >>> print(code("a|b"), code("a\\\\|b"), code("tick ` tick"))
    `a\\|b` `a\\|b` `` tick ` tick ``
    """
    told = re.sub(r"\s+", " ", clean(text, limit)).strip()
    told = re.sub(r"\\*\|", r"\\|", told)  # with a backslash of its own before it, a cell would end there
    ticks = _longer_than(told, 0)
    room = " " if told.startswith("`") or told.endswith("`") or len(ticks) > 1 else ""
    return f"{ticks}{room}{told}{room}{ticks}" if told else "–"  # noqa: RUF001


def plain(text: object, limit: int = 400) -> str:
    """In a line, as words.

    >>> print(plain("a <b> *c*"))
    a \\<b\\> \\*c\\*
    """
    told = re.sub(r"\s+", " ", clean(text, limit)).strip()
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", told)


def block(text: str, language: str = "") -> str:
    """As a block of code, whatever it holds."""
    fence = _longer_than(text, 2)
    return f"{fence}{language}\n{clean(text, 200_000).rstrip()}\n{fence}"


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table. The cells are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _longer_than(text: str, least: int) -> str:
    """So many backticks as no run of them in the text has, and more than `least`."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    return "`" * (max(longest, least) + 1)

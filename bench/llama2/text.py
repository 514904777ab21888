"""Numbers as lines of a table."""

from __future__ import annotations

from collections.abc import Sequence

from accord.algorithms.statistics import Interval


def lines_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown; the first row is the head."""
    first, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return [first, "|" + "---|" * len(rows[0]), *rest]


def told(one: Interval, times: float = 1.0, sign: bool = True) -> str:
    """With its interval. times: 100 for percent. sign: a plus before what is above zero, as differences want it."""
    form = ("+" if sign else "") + (".1f" if times == 100 else ".3f")
    value, low, high = (format(times * number, form) for number in (one.value, one.low, one.high))
    return f"{value} ({low} to {high})"

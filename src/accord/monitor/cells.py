"""Cells of a page's tables: shares with their intervals, counts, p-values. Any of them may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accord.monitor.values import ABSENT, number, percent


@dataclass(frozen=True, slots=True)
class Cell:
    """A number as text, and beside it its interval."""

    text: str
    interval: str = ""


def share_cell(share: Mapping[str, Any]) -> Cell:
    """Of `accord.evaluate.shares.share_of`.

    >>> share_cell({"value": 0.5, "low": 0.25, "high": 0.75, "num": 8})
    Cell(text='50 %', interval='25 to 75, n 8')
    """
    if number(share.get("value")) is None:
        return Cell(ABSENT)
    of = f", n {count(share['num'])}" if number(share.get("num")) is not None else ""
    return Cell(f"{percent(share['value'])} %", f"{percent(share.get('low'))} to {percent(share.get('high'))}{of}")


def count(value: object) -> str:
    x = number(value)
    return ABSENT if x is None else f"{x:,.0f}"


def p_value(value: object) -> str:
    x = number(value)
    return ABSENT if x is None else "below 0.001" if x < 0.001 else f"{x:.3f}"

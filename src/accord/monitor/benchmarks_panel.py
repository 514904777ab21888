"""Policies on benchmarks, for a page: each one's score, and how far it is from the first policy's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accord.monitor.cells import Cell
from accord.monitor.values import ABSENT, clean, fixed, number, table

Line = tuple[str, str, list[Cell]]


def benchmark_lines(rows: Sequence[Any]) -> tuple[list[Line], str]:
    """rows: as `accord.evaluate.benchmarks.benchmark_rows` has them. Of each metric a line for each policy, and one for
    each floor, in brackets; and the name of the first policy."""
    lines: list[Line] = []
    first = ""
    for row in map(table, rows):
        on = f"{clean(row.get('task'), 60)}, {clean(row.get('metric'), 40)} ({_count(row.get('n'))})"
        for name, one in table(row.get("policies")).items():
            first = first or str(name)
            difference = table(table(one).get("difference"))
            p = number(difference.get("p_value"))
            cells = [_score(table(one), row), _score(difference, row, sign="+"), Cell("" if p is None else fixed(p, 3))]
            lines.append((str(name), on, cells if difference else [cells[0], Cell(""), Cell("")]))
        for name, floor in table(row.get("floors")).items():
            lines.append((f"({name})", on, [_score({"value": floor}, row), Cell(""), Cell("")]))
    return lines, first


def _score(one: Mapping[str, Any], row: Mapping[str, Any], sign: str = "") -> Cell:
    value, low, high = (number(one.get(end)) for end in ("value", "low", "high"))
    if value is None:
        return Cell(ABSENT)
    share = row.get("unit") == "share"
    told = [f"{100 * x:{sign}z.1f}" if share else f"{x:{sign}.3g}" for x in (value, low, high) if x is not None]
    return Cell(told[0] + (" %" if share and not sign else ""), f"{told[1]} to {told[2]}" if len(told) == 3 else "")


def _count(value: object) -> str:
    x = number(value)
    return ABSENT if x is None else f"{x:,.0f} items"

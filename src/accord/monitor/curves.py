"""The curves of a step's metrics as numbers: what a page that draws them itself is sent.

The panels are those of the report (`accord.monitor.panels`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accord.monitor.panels import OPTIMIZER_STEPS, PANELS, SHARES
from accord.monitor.values import apart, clean, number

Row = Mapping[str, Any]
Point = tuple[float, float]

MOST_POINTS: Final = 120  # of a line; a longer one is averaged down
MOST_LINES: Final = 8  # in a panel
MOST_PANELS: Final = 12
FIRST_METRICS: Final = 6  # that are shown of a kind without a list of panels
# Panels of what recipes name, and what is said of it there, by prefix.
_MORE: Final = {"watch/": ("score", ", watched"), "spread/": ("disagreement of members", "")}


@dataclass(frozen=True, slots=True)
class Panel:
    """lines: name -> points. is_share: it is shown from 0 to 1."""

    title: str
    lines: Mapping[str, Sequence[Point]]
    is_share: bool


def unit_of(kind: str) -> str:
    """What the rows of a kind of step count."""
    return "optimizer step" if kind in OPTIMIZER_STEPS else "iteration"


def panels_of(kind: str, rows: Sequence[Row]) -> list[Panel]:
    """Of these metrics, a row an iteration or optimizer step. What was not measured has no panel."""
    named: dict[str, dict[str, str]] = {title: dict(lines) for title, lines in PANELS.get(kind, ())}
    keys = dict.fromkeys(key for row in rows for key in row)
    for prefix, (title, said) in _MORE.items():
        names = apart((key.removeprefix(prefix) for key in keys if key.startswith(prefix)), 20)
        more = {f"{cut}{said}": f"{prefix}{name}" for name, cut in names.items()}
        if more:
            named[title] = named.get(title, {}) | more
    found = [(title, _lines(rows, lines)) for title, lines in named.items()]
    panels = [Panel(clean(title, 60), lines, title in SHARES) for title, lines in found if lines]
    return (panels or _any_panels(keys, rows))[:MOST_PANELS]


def last_values(kind: str, rows: Sequence[Row]) -> dict[str, float]:
    """The last value of each metric that the panels show, by its name in the rows."""
    keys = [key for _, lines in PANELS.get(kind, ()) for key in lines.values()]
    found = {key: value for row in rows for key, each in row.items() if (value := number(each)) is not None}
    shown = [key for key in (*keys, *(key for key in found if key.startswith(tuple(_MORE)))) if key in found]
    if not shown:
        shown = [key for key in found if key != "iteration"][:FIRST_METRICS]
    return {key: found[key] for key in shown}


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most so many points, each the mean of as many neighbours."""
    size = math.ceil(len(points) / most)
    groups = [points[at : at + size] for at in range(0, len(points), size)] if size > 1 else [[one] for one in points]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _lines(rows: Sequence[Row], lines: Mapping[str, str]) -> dict[str, list[Point]]:
    drawn = {name: _points(rows, key) for name, key in list(lines.items())[:MOST_LINES]}
    return {name: thinned(points) for name, points in drawn.items() if points}


def _points(rows: Sequence[Row], key: str) -> list[Point]:
    found = []
    for at, row in enumerate(rows):
        x, y = number(row.get("iteration")), number(row.get(key))
        if y is not None:
            found.append((float(at) if x is None else x, y))
    return found


def _any_panels(keys: Mapping[str, None], rows: Sequence[Row]) -> list[Panel]:
    found = [(clean(key, 60), _lines(rows, {"value": key})) for key in keys if key != "iteration"]
    return [Panel(title, lines, False) for title, lines in found if lines][:FIRST_METRICS]

"""The curves of a step's metrics as numbers: for the pictures of a report, and for a page that draws them itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from accord.monitor.panels import OPTIMIZER_STEPS, PANELS, SHARES
from accord.monitor.values import apart, clean, number

Row = Mapping[str, Any]
Point = tuple[float, float]

MOST_POINTS: Final = 120  # of a line that is sent
MOST_LINES: Final = 8  # in a panel that is sent
MOST_PANELS: Final = 12  # that are sent
FIRST_METRICS: Final = 6  # that are shown of a kind without a list of panels
# Panels of what recipes name, and what is said of it there, by prefix.
_MORE: Final = {"watch/": ("score", ", watched"), "spread/": ("disagreement of members", "")}


@dataclass(frozen=True, slots=True)
class Panel:
    """lines: name -> points. is_share: it is shown from 0 to 1."""

    title: str
    lines: Mapping[str, Sequence[Point]]
    is_share: bool


class Bucket(NamedTuple):
    """Neighbours of a curve: the means, and between what the values lie."""

    x: float
    y: float
    low: float
    high: float


def unit_of(kind: str) -> str:
    """What the rows of a kind of step count."""
    return "optimizer step" if kind in OPTIMIZER_STEPS else "iteration"


def keys_of(kind: str, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """title of a panel -> line -> the metric that it shows; the first six metrics, where of the kind's panels nothing
    was measured."""
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "iteration"]
    measured = [key for key in keys if any(number(row.get(key)) is not None for row in rows)]
    named: dict[str, dict[str, str]] = {title: dict(lines) for title, lines in PANELS.get(kind, ())}
    for prefix, (title, said) in _MORE.items():
        names = apart((key.removeprefix(prefix) for key in measured if key.startswith(prefix)), 20)
        if names:
            named.setdefault(title, {}).update({f"{cut}{said}": f"{prefix}{name}" for name, cut in names.items()})
    of_kind = {title: {line: key for line, key in lines.items() if key in measured} for title, lines in named.items()}
    found = {title: lines for title, lines in of_kind.items() if lines}
    return found or {clean(key, 60): {"value": key} for key in measured[:FIRST_METRICS]}


def panels_of(kind: str, rows: Sequence[Row]) -> list[Panel]:
    """Of these metrics, a row an iteration or optimizer step, at most so much as a page is sent."""
    panels = []
    for title, lines in list(keys_of(kind, rows).items())[:MOST_PANELS]:
        drawn = {
            name: [(one.x, one.y) for one in thin(points_of(rows, key), MOST_POINTS)]
            for name, key in list(lines.items())[:MOST_LINES]
        }
        panels.append(Panel(title, drawn, title in SHARES))
    return panels


def last_values(kind: str, rows: Sequence[Row]) -> dict[str, float]:
    """The last value of each metric that the panels show, by its name in the rows."""
    keys: Iterable[str] = (key for lines in keys_of(kind, rows).values() for key in lines.values())
    return {key: points_of(rows, key)[-1][1] for key in dict.fromkeys(keys)}


def points_of(rows: Sequence[Row], key: str) -> list[Point]:
    """Of a metric, by iteration; a row without a number of its own stands at its place."""
    return [
        (x if (x := number(row.get("iteration"))) is not None else float(i), y)
        for i, row in enumerate(rows)
        if (y := number(row.get(key))) is not None
    ]


def thin(points: Sequence[Point], most: int) -> list[Bucket]:
    """At most so many buckets, each of as many neighbours."""
    size = math.ceil(len(points) / most)
    groups = [points[i : i + size] for i in range(0, len(points), size)] if size > 1 else [[p] for p in points]
    return [_bucket([x for x, _ in group], [y for _, y in group]) for group in groups]


def _bucket(xs: Sequence[float], ys: Sequence[float]) -> Bucket:
    return Bucket(sum(xs) / len(xs), sum(ys) / len(ys), min(ys), max(ys))

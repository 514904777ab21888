"""Series of what was measured, and windows of them: the last third, by itself, against the first, or the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

from accord.monitor.values import number

FEWEST: Final = 4  # measurements; of fewer, noise cannot be told
ERRORS: Final = 2.5  # standard errors that a fall must be larger than: of series without one, 4 % seem to have it

Row = Mapping[str, Any]
Series = list[tuple[int, float]]  # iteration (of a preference step: optimizer step), value


@dataclass(frozen=True, slots=True)
class Move:
    """Means of two windows, and where the change began to hold."""

    before: float
    after: float
    since: int


def moved(series: Series, beyond: Callable[[float, float], bool]) -> Move | None:
    """The mean of the last third is beyond what the mean of the first allows; since the first of the values at the end
    that all are, or at least since the last third began."""
    size = len(series) // 3
    if not size:
        return None
    values = [value for _, value in series]
    first, last = _mean(values[:size]), _mean(values[-size:])
    if not beyond(first, last):
        return None
    return Move(first, last, _since(series, size, lambda value: beyond(first, value)))


def lasting(series: Series, beyond: Callable[[float], bool]) -> Move | None:
    """The mean of the last third, of three values at least, is beyond a limit; since when, as `moved` has it. A series
    of three or fewer is one window: a change takes two of them to see, a level does not."""
    size = max(len(series) // 3, min(len(series), 3))
    if not size:
        return None
    values = [value for _, value in series]
    last = _mean(values[-size:])
    return Move(_mean(values[:size]), last, _since(series, size, beyond)) if beyond(last) else None


def _since(series: Series, size: int, beyond: Callable[[float], bool]) -> int:
    """Where the last values begin that all are beyond, or where the last window does, whichever is earlier."""
    at = len(series) - size
    while at > 0 and beyond(series[at - 1][1]):
        at -= 1
    return series[at][0]


def fall_of(series: Series, *, from_best: bool) -> Move | None:
    """The mean of the last third of the values lies below that of the first third, or of the best window of that size,
    by more than noise; since the end of that window."""
    if len(series) < FEWEST:
        return None
    values = [value for _, value in series]
    size = len(values) // 3
    starts = range(len(values) - 2 * size + 1) if from_best else range(1)  # a window that the last third is not in
    sums = [0.0, *accumulate(values)]
    best = max(starts, key=lambda at: sums[at + size] - sums[at])
    before, after = _mean(values[best : best + size]), _mean(values[-size:])
    variance = sum((b - a) ** 2 for a, b in pairwise(values)) / (2 * (len(values) - 1))
    error = math.sqrt(2 * variance / size)
    if before - after <= ERRORS * error:
        return None
    return Move(before, after, series[best + size][0])


def series_of(rows: Sequence[Row], key: str) -> Series:
    """What was measured of a key, by iteration; a row without a number of its own counts as the next."""
    return [
        (int(number(row.get("iteration")) or at), value)
        for at, row in enumerate(rows, start=1)
        if (value := number(row.get(key))) is not None
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

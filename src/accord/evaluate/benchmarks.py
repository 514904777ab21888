"""The one shape of every benchmark's results: what each policy scored on each item, and the table of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from accord.algorithms.paired import Standing, side_by_side, side_by_side_of
from accord.algorithms.statistics import Interval
from accord.data.catalog import PREFIX
from accord.data.formats.readers import source_rows
from accord.data.formats.reading import Flaw, Row
from accord.errors import UserError

CHANCE: Final = "every answer as good as another"
CORRECT: Final = "Correct the row, or leave it out."


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric of one policy on one task.

    values: [n], in the order of the task's items, which is the same for all policies; NaN: the item has none. groups:
    [n] labels of items that are drawn together. floors: what knowing nothing reaches, by how. aggregate: what makes one
    number of the values, which then may be anything; None: their mean. is_share: whether the number is one of all items
    (and a difference is in points). higher_is_better: None where nobody says. part_of: the group whose task it is.
    """

    task: str
    metric: str
    values: Sequence[Any]
    groups: Sequence[Hashable] | None = None
    floors: Mapping[str, float] = field(default_factory=dict)
    aggregate: Callable[[Sequence[Any]], float] | None = None
    is_share: bool = True
    higher_is_better: bool | None = True
    part_of: str | None = None


def benchmark_rows(measured: Mapping[str, Sequence[Measured]], *, seed: int = 0) -> list[dict[str, Any]]:
    """Of policies that have the same metrics on the same items, the first of which the others are compared with: before
    and after training, or after each round. One row for each metric:

        {"task", "part_of", "metric", "n", "unit": "share" or "number", "higher_is_better", "floors": {name: value},
         "policies": {name: {"value", "low", "high", "n", "difference": None or {"value", "low", "high", "n",
                                                                                 "p_value": None or number}}}}

    A policy's n is of items with a value. Metrics of which some policy has no value at all have no row. What has no
    number is None.
    """
    columns = list(zip(*measured.values(), strict=True))
    rows = []
    for column in columns:
        first = column[0]
        assert all((one.task, one.metric) == (first.task, first.metric) for one in column)
        values = {name: one.values for name, one in zip(measured, column, strict=True)}
        if first.aggregate is not None:
            found = side_by_side_of(values, first.aggregate, seed=seed)
        elif any(all(math.isnan(value) for value in own) for own in values.values()):
            continue
        else:
            found = side_by_side(values, groups=first.groups, seed=seed)
        rows.append(
            {
                "task": first.task,
                "part_of": first.part_of,
                "metric": first.metric,
                "n": len(first.values),
                "unit": "share" if first.is_share else "number",
                "higher_is_better": first.higher_is_better,
                "floors": dict(first.floors),
                "policies": {name: _standing(one) for name, one in found.items()},
            }
        )
    return rows


def with_groups(measured: Sequence[Measured], groups: Mapping[str, Sequence[str]]) -> list[Measured]:
    """Of a group all items of its tasks together, wherever these have the metric, in front of the tasks themselves."""
    whole, parts = [], {task: name for name, tasks in groups.items() for task in tasks}
    for name, tasks in groups.items():
        inside = [one for one in measured if one.task in tasks and one.aggregate is None]
        for metric in dict.fromkeys(one.metric for one in inside):
            own = [one for one in inside if one.metric == metric]
            num = sum(len(one.values) for one in own)
            floors = (
                {CHANCE: sum(one.floors[CHANCE] * len(one.values) for one in own) / num}
                if all(CHANCE in one.floors for one in own)
                else {}
            )
            values = [value for one in own for value in one.values]
            whole.append(replace(own[0], task=name, values=values, floors=floors, part_of=None))
    return whole + [replace(one, part_of=parts.get(one.task)) for one in measured]


def suite_rows(source: str) -> Iterator[Row]:
    """The rows of a suite's file, of a folder of files, or of `hub:OWNER/NAME`. Raises UserError, also for a row that
    cannot be parsed: a benchmark is whole, or is another one."""
    if source.startswith(PREFIX):
        remedy = "Name the suite's file, a folder of files or hub:OWNER/NAME."
        raise UserError(
            "the built-in data sets are for training, and no benchmark is among them", where=source, remedy=remedy
        )
    for row in source_rows(source):
        if isinstance(row, Flaw):
            raise UserError(row.what, where=str(row.place), remedy=CORRECT)
        yield row


def _standing(found: Standing) -> dict[str, Any]:
    difference = found.difference
    return {
        **_ends(found.interval),
        "n": found.num,
        "difference": None
        if difference is None
        else {**_ends(difference.interval), "n": difference.num, "p_value": difference.p_value},
    }


def _ends(found: Interval) -> dict[str, float | None]:
    ends = {"value": found.value, "low": found.low, "high": found.high}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}

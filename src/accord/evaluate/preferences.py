"""A file of preferences as something to be measured on: its ordered pairs, and what they can be told apart by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accord.algorithms.null_baselines import null_baselines
from accord.algorithms.statistics import Interval
from accord.data.catalog import find
from accord.data.derive import derive_ranking, mean_grades
from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import read_source, source_rows
from accord.data.formats.reading import Flaw, Reading, Row
from accord.data.independence import groups_of
from accord.data.records import JudgedComparison
from accord.data.sources import is_builtin, read_parts
from accord.errors import UserError, did_you_mean
from accord.types import Ranking

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SUBSETS = ("subset", "category", "source")  # columns by which results are given unasked, the first with several values
MOST_SUBSETS = 64  # values of a column that was not asked for
NO_SUBSET = "(none)"


@dataclass(frozen=True, slots=True)
class Preferences:
    """judged: the comparisons. column: by which results are given, "" for none; subsets: its value for each comparison.

    flaws: the rows that cannot be used, which are left out.
    """

    judged: list[JudgedComparison]
    column: str
    subsets: list[str]
    flaws: list[Flaw]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The ordered pairs of comparisons, [p], and how many ties there are beside them.

    comparison: the index of each one's comparison. chosen, rejected: indices into the responses. strength: the
    difference of the mean grades. longer: words that the chosen response has more. group: a number for each prompt.
    """

    comparison: Ints
    chosen: Ints
    rejected: Ints
    strength: Floats
    longer: Floats
    group: Ints
    num_ties: int

    def __len__(self) -> int:
        return len(self.comparison)

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Some of the pairs; the ties are still all."""
        return Pairs(
            self.comparison[chosen],
            self.chosen[chosen],
            self.rejected[chosen],
            self.strength[chosen],
            self.longer[chosen],
            self.group[chosen],
            self.num_ties,
        )

    def baselines(self, seed: int) -> dict[str, dict[str, float] | None]:
        """What a judge reaches who knows nothing (`null_baselines`), for JSON."""
        found = null_baselines(self.longer, self.chosen < self.rejected, groups=self.group, seed=seed)
        return {name: None if one is None else interval(one) for name, one in found.items()}


def interval(one: Interval) -> dict[str, float]:
    """For JSON."""
    return {"value": one.value, "low": one.low, "high": one.high}


def read_preferences(source: str, options: ReadOptions, by: str | None = None) -> Preferences:
    """The comparisons of a source, which may be `builtin:NAME.PART`. by: the column by which results are given; None:
    the first of SUBSETS that differs between rows, if there is one. Raises UserError, also when no row can be used."""
    wanted = replace(options, kind="comparisons")
    if is_builtin(source):
        return Preferences(_builtin(source, options, by), "", [], [])
    reading = read_source(source, wanted)
    if not reading.records:
        first = f", and the first is:\n  {reading.flaws[0]}" if reading.flaws else ""
        raise UserError(f"no row can be used{first}", where=source, remedy="Correct them: see `accord data check`.")
    column, subsets = subsets_of(source, wanted, reading, by)
    return Preferences(reading.records, column, subsets, reading.flaws)


def _builtin(source: str, options: ReadOptions, by: str | None) -> list[JudgedComparison]:
    """The comparisons of a part of a built-in data set, `builtin:NAME.PART`. Raises UserError."""
    name, _, part = source.partition(".")
    known = [one for one, kind in find(name).parts.items() if kind == "comparisons"]
    if part not in known:
        remedy = f"Name one of {', '.join(f'{name}.{one}' for one in known)}."
        raise UserError("of a built-in data set the part with the comparisons is wanted", where=source, remedy=remedy)
    if replace(options, limit=None) != ReadOptions() or by is not None:
        remedy = f"Give {source!r} alone, or with a limit."
        raise UserError("a built-in data set has no columns, and no options", where=source, remedy=remedy)
    return read_parts(name)[part].records[: options.limit]


def subsets_of(source: str, options: ReadOptions, reading: Reading, by: str | None) -> tuple[str, list[str]]:
    """The column by which results are given, and its value for each record; ("", []) for none. Raises UserError."""
    by_place: dict[str, Mapping[str, Any]] = {
        row.place: row.values for row in source_rows(source, options) if isinstance(row, Row)
    }
    rows = [by_place[place] for place in reading.places]
    if by is not None:
        present = dict.fromkeys(name for row in rows for name in row)
        if by not in present:
            raise UserError(f"there is no column {by!r}", where=source, remedy=did_you_mean(by, present))
        return by, [_value(row.get(by)) for row in rows]
    for column in SUBSETS:
        values = [_value(row.get(column)) for row in rows]
        if 1 < len(set(values)) <= MOST_SUBSETS:
            return column, values
    return "", []


def pairs_of(judged: list[JudgedComparison]) -> Pairs:
    """Every pair of responses whose mean grades differ, in the order of the comparisons."""
    return pairs_in([derive_ranking(comparison, said, tie_below=0.0) for comparison, said in judged], judged)


def pairs_in(rankings: Sequence[Ranking], judged: Sequence[JudgedComparison]) -> Pairs:
    """The pairs of the comparisons' rankings, in their order."""
    groups = groups_of(rankings)
    rows: list[tuple[float, ...]] = []
    for at, (ranking, (_, said)) in enumerate(zip(rankings, judged, strict=True)):
        means = [mean or 0.0 for mean in mean_grades(said, len(ranking.responses))]
        words = [len(response.text.split()) for response in ranking.responses]
        for pair in ranking.pairs:
            won, lost = pair.chosen, pair.rejected
            rows.append((at, won, lost, means[won] - means[lost], words[won] - words[lost], groups[at]))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6).T
    at, chosen, rejected, group = (table[i].astype(np.int64) for i in (0, 1, 2, 5))
    return Pairs(at, chosen, rejected, table[3], table[4], group, sum(len(one.ties) for one in rankings))


def ordered_pairs(preferences: Preferences, source: str) -> Pairs:
    """Those of all comparisons. Raises UserError when there are none."""
    pairs = pairs_of(preferences.judged)
    if not len(pairs):
        what = f"no comparison has an order: {pairs.num_ties} pairs are ties"
        raise UserError(what, where=source, remedy="Give preferences of which some have a winner.")
    return pairs


def _value(cell: object) -> str:
    return NO_SUBSET if cell is None or cell == "" else str(cell)

"""What reading a source gives: rows, what is wrong with them, and the records that they became.

A source of any form is read in one pass: the rows that can be used become records of one kind, every row that cannot
is a flaw with its place, and a row that is kept but is worth a word is a note. Nothing here knows a format.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from accord.data.formats.fields import Defect
from accord.data.records import MAX_DEFECT_LENGTH, Record, RecordKind


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file.

    place: `file:line` (of the row's first line, from 1), `file[12]` (an item of a JSON array, from 0) or `file:row 12`
    (a table without lines, from 1).
    """

    place: str
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What a row without an id of its own is called.

        >>> Row("prefs/train.jsonl.gz:12", {}).name, Row("b.json[0]", {}).name, Row("hub:a/b:row 7", {}).name
        ('train-12', 'b-0', 'b-7')
        """
        file, number = _PLACE.fullmatch(self.place).groups()  # type: ignore[union-attr]
        return f"{PurePosixPath(file.removesuffix('.gz')).stem}-{number}"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something about a row, or a field of it (may be ""). code: a short name that stays, for counts and filters."""

    place: str
    field: str
    what: str
    code: str

    def __str__(self) -> str:
        where = f"{self.place}:{self.field}" if self.field else self.place
        return f"{where}: {self.what[:MAX_DEFECT_LENGTH]}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source held.

    records: of one kind, with the place of each in `places`. flaws: every row that was left out, some
    with more than one. notes: rows that were kept but are worth a word, such as a comparison without an order (code
    "tie"). num_rows: rows seen, used or not.
    """

    kind: RecordKind
    records: list[Any]
    places: list[str]
    flaws: list[Flaw] = field(default_factory=list)
    notes: list[Flaw] = field(default_factory=list)
    num_rows: int = 0

    @property
    def num_left_out(self) -> int:
        """Rows that became no record."""
        return len({flaw.place for flaw in self.flaws})


_PLACE = re.compile(r"(.*?)(?::|:row |\[)(\d+)\]?", re.DOTALL)


def count_codes(flaws: Iterable[Flaw]) -> dict[str, int]:
    """How many there are of each code, the most frequent first."""
    return dict(Counter(flaw.code for flaw in flaws).most_common())


Converted = tuple[RecordKind, Record]

Recognise = Callable[[Mapping[str, Any]], bool]
"""Whether a row is of a format, from its values alone."""

Convert = Callable[[Row, Mapping[str, str | list[str]]], list[Converted]]
"""The records of a row (one, as a rule), with the columns that the user named. Raises Defect."""

__all__ = ["Convert", "Converted", "Defect", "Flaw", "Reading", "Recognise", "Row", "count_codes"]

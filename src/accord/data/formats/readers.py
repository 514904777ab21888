"""Reading a source: a file, a folder of files or a data set of the hub, in any known form, as records of one kind.

The first rows decide what a source holds (its format and the kind of its records); a row that then cannot be used is
a flaw, and none is dropped without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path

from accord.data.catalog import BUILTIN
from accord.data.catalog import PREFIX as BUILTIN_PREFIX
from accord.data.formats import hub, rows
from accord.data.formats.fields import Defect
from accord.data.formats.options import ReadOptions, convert, decide, names_in
from accord.data.formats.reading import Converted, Flaw, Reading, Row
from accord.data.formats.renamed import lacking, shown
from accord.data.formats.responses import gathered, identity, remarks
from accord.data.records import RecordKind
from accord.errors import UserError
from accord.paths import user_path

NUM_FIRST = 100  # rows that decide what a source holds
DEFAULT = ReadOptions()


def read_source(source: str, options: ReadOptions = DEFAULT) -> Reading:
    """All that a source holds: a file, a folder of files or `hub:owner/name`.

    Raises UserError when it cannot be read as a whole, or when nothing in it tells what it is.
    """
    found = source_rows(source, options)
    first = list(islice(found, NUM_FIRST))
    kind, form = decide(source, first, options)
    seen: dict[str, str] = {}
    reading = Reading(kind, [], [])
    num_rows = 0
    for row in chain(first, found):
        num_rows += 1
        try:
            if isinstance(row, Flaw):
                reading.flaws.append(row)
            else:
                _add(reading, row.place, convert(row, form, kind, options), seen)
        except Defect as defect:
            found_in_row = (defect, *defect.others)
            reading.flaws.extend(Flaw(row.place, one.field, one.what, one.code) for one in found_in_row)
    return _finished(reading, num_rows)


def kind_of_source(source: str, options: ReadOptions = DEFAULT) -> RecordKind:
    """The kind of a source's records, from its first rows. Raises UserError as read_source does."""
    kind, _ = decide(source, list(islice(source_rows(source, options), NUM_FIRST)), options)
    return kind


def lacking_in(source: str, options: ReadOptions, kinds: Sequence[RecordKind]) -> tuple[str, str]:
    """Which column a source lacks to be of one of the kinds, and what to do, from its first rows; ("", "") where that
    is not told by columns. Raises UserError as read_source does."""
    first = list(islice(source_rows(source, options), NUM_FIRST))
    _, form = decide(source, first, options)
    present = dict.fromkeys(name for row in first if isinstance(row, Row) for name in names_in(row, form, options))
    what, remedy = lacking(present, kinds) if present else ("", "")
    return (f"{what} (those of {source!r} are {shown(list(present))})" if what else ""), remedy


def source_rows(source: str, options: ReadOptions = DEFAULT) -> Iterator[Row | Flaw]:
    """The rows of a source as they are in its files."""
    if source.startswith(hub.PREFIX):
        found = hub.rows_of(source, options.split, options.config, options.revision)
    else:
        found = chain.from_iterable(rows.rows_of(path) for path in files_of(source))
    return islice(found, options.limit)


def files_of(source: str) -> list[Path]:
    """The file that a source names, or the files of data in the folder that it names, by name. Raises UserError."""
    if not source.strip():
        raise UserError("no data is named: the name is empty", remedy="Give a file, a folder or hub:OWNER/NAME.")
    path = user_path(source)
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.is_file() and rows.known_ending(one) and one.name[0] != ".")
        if not files:
            remedy = f"Known endings: {', '.join(rows.READERS)}, also with .gz."
            raise UserError("the folder holds no file of data", where=source, remedy=remedy)
        return files
    if not path.exists():
        raise _missing(source, path)
    rows.ending(path)
    return [path]


def _missing(source: str, path: Path) -> UserError:
    known = {name: f"{BUILTIN_PREFIX}{name}" for name in BUILTIN}
    with suppress(OSError):
        beside = [one for one in path.parent.iterdir() if one.is_dir() or rows.known_ending(one)]
        known |= {one.name.partition(".")[0]: str(Path(source).with_name(one.name)) for one in sorted(beside)}
    near = get_close_matches(path.name.partition(".")[0], known, n=1)
    builtin = ", ".join(BUILTIN_PREFIX + name for name in BUILTIN)
    meant = f"Did you mean {known[near[0]]!r}?" if near else f"Built in: {builtin}."
    what = f"there is no data set {source!r}: no file or folder is at {path.absolute()}"
    return UserError(what, remedy=f"Give a file, a folder, hub:OWNER/NAME or a built-in name. {meant}")


def _add(reading: Reading, place: str, converted: Iterable[Converted], seen: dict[str, str]) -> None:
    """Adds the records of a row. seen: id -> the place of its record. Raises Defect for an id that was there before."""
    for _, record in converted:
        name = identity(record)
        if name in seen:
            raise Defect("id", f"{name!r} is also the id of {seen[name]}", "repeated-id")
        seen[name] = place
        reading.records.append(record)
        reading.places.append(place)


def _finished(reading: Reading, num_rows: int) -> Reading:
    records, places, flaws = reading.records, reading.places, reading.flaws
    if reading.kind == "comparisons":
        records, places, alone = gathered(records, places)
        flaws = [*flaws, *alone]
    notes = [
        Flaw(place, remark.field, remark.what, remark.code)
        for record, place in zip(records, places, strict=True)
        for remark in remarks(record)
    ]
    return Reading(reading.kind, records, places, flaws, notes, num_rows)

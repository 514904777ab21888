"""What a recipe's `data` can name, with its parts: a source, a map from part to source, or a built-in data set."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from accord.data import catalog
from accord.data.formats import hub
from accord.data.formats.fields import first_of
from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import DEFAULT, files_of, kind_of_source, read_source
from accord.data.formats.reading import Flaw, Reading, count_codes
from accord.data.records import RecordKind, read_records
from accord.errors import UserError
from accord.store.digests import sha256_of

Source = str | Mapping[str, str]
ONLY_PART = "train"  # the part of a source that has no parts
# Files beside the parts, in the artifacts of steps that make data.
NO_PARTS = ("flaws", "metrics", "origins", "verdicts", "judged")


def is_builtin(source: Source) -> bool:
    return isinstance(source, str) and source.startswith(catalog.PREFIX)


def by_part(source: Source) -> Mapping[str, str]:
    """The source of each part; of a built-in data set there is one source for all."""
    return {ONLY_PART: source} if isinstance(source, str) else source


def kinds_of(source: Source, options: ReadOptions = DEFAULT) -> dict[str, RecordKind]:
    """The parts of a source and the kind of their records, from the first rows of each. Raises UserError."""
    if isinstance(source, str) and is_builtin(source):
        return dict(catalog.find(source).parts)
    return {part: kind_of_source(one, options) for part, one in by_part(source).items()}


def read_parts(source: Source, options: ReadOptions = DEFAULT) -> dict[str, Reading]:
    """All that a source holds, part by part. Raises UserError. A built-in data set is fetched if need be."""
    if isinstance(source, str) and is_builtin(source):
        return _read_builtin(source)
    return {part: read_source(one, options) for part, one in by_part(source).items()}


def check_usable(readings: Mapping[str, Reading], where: str, *, drop: bool, remedy: str) -> None:
    """Raises UserError for rows that cannot be used, unless they are to be dropped, and for a part without a record.

    remedy: of rows that cannot be used.
    """
    flaws = [flaw for reading in readings.values() for flaw in reading.flaws]
    if flaws and not drop:
        num_rows = sum(reading.num_rows for reading in readings.values())
        num_left_out = sum(reading.num_left_out for reading in readings.values())
        lines = first_of([str(flaw) for flaw in flaws])
        what = f"{num_left_out} of {num_rows} rows cannot be used ({_counts(flaws)}):\n  {lines}"
        raise UserError(what, where=where, remedy=remedy)
    for part, reading in readings.items():
        if not reading.records:
            what = f"the part {part!r} has no record that can be used ({_counts(reading.flaws)})"
            raise UserError(what, where=where, remedy="Correct its rows.")


def check_no_options(source: str, options: Iterable[str]) -> None:
    """Raises UserError for the first option of a built-in data set, which has none."""
    for option in options:
        what = f"a built-in data set has no options, and here is {option!r}"
        raise UserError(what, remedy=f"Give {source!r} alone.")


def _counts(flaws: Iterable[Flaw]) -> str:
    return ", ".join(f"{code} {count}" for code, count in count_codes(flaws).items())


def fingerprint(source: Source, revision: str | None = None) -> str:
    """What the content of a source is known by: the digest of its files, or a revision of the hub. Raises UserError.

    Without a revision, a data set of the hub is known by its name alone: what is read once is not read again.
    """
    if isinstance(source, str) and is_builtin(source):
        catalog.find(source)
        return ""
    digest = sha256()
    for part, one in by_part(source).items():
        if is_builtin(one):
            raise UserError(
                f"{part}: a built-in data set has parts of its own", remedy=f"Write `NAME: {one}`, and use NAME.PART."
            )
        if one.startswith(hub.PREFIX):
            digest.update(f"{part}\0{one}\0{revision}\0".encode())
            continue
        for path in files_of(one):
            digest.update(f"{part}\0{path.name}\0{_digest(path)}\0".encode())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        what = f"the file cannot be read: {error.strerror}"
        raise UserError(what, where=str(path), remedy="Check its permissions.") from error


def _read_builtin(source: str) -> dict[str, Reading]:
    found = catalog.find(source)
    with tempfile.TemporaryDirectory() as folder:
        found.prepare(Path(folder))
        return {part: _canonical(Path(folder) / f"{part}.jsonl", kind, source) for part, kind in found.parts.items()}


def _canonical(path: Path, kind: RecordKind, source: str) -> Reading:
    records: list[Any] = read_records(path, kind)
    places = [f"{source}.{path.stem}:{number}" for number in range(1, len(records) + 1)]
    return Reading(kind, records, places, num_rows=len(records))

"""What a recipe's `data` can name, with its parts: a source, a map from part to source, or a built-in data set."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from accord.data import catalog
from accord.data.formats import hub
from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import DEFAULT, files_of, kind_of_source, read_source
from accord.data.formats.reading import Reading
from accord.data.records import RecordKind, read_records
from accord.errors import UserError
from accord.store.digests import sha256_of

Source = str | Mapping[str, str]
ONLY_PART = "train"  # the part of a source that has no parts


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

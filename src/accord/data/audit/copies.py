"""Copies of a source with its rows changed, or without some of them: the same columns, whatever they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import source_rows
from accord.data.formats.reading import Row
from accord.data.writers import write_rows
from accord.errors import UserError


@dataclass(frozen=True, slots=True)
class Copied:
    """num_rows: in the copy, `num_changed` of them not as they were. num_dropped: left out on purpose. num_unusable:
    left out because they cannot be parsed, or written."""

    num_rows: int
    num_changed: int
    num_dropped: int
    num_unusable: int


def copy_rows(
    source: str, options: ReadOptions, out: Path, change: Callable[[dict[str, Any]], Mapping[str, Any] | None]
) -> Copied:
    """Writes what `change` makes of each row (None: nothing). Raises UserError; then there is no copy.

    A cell that holds turns, or another list, as JSON is opened for `change`, as it is to be read: escaped texts hide.
    """
    kept: list[dict[str, Any]] = []
    num_changed = num_dropped = num_unusable = 0
    for row in source_rows(source, options):
        values = _plain(row.values) if isinstance(row, Row) else None
        if values is None:
            num_unusable += 1
            continue
        packed = {name: found for name, cell in values.items() if (found := _packed(cell)) is not None}
        opened = values | packed
        changed = change(opened)
        if changed is None:
            num_dropped += 1
            continue
        num_changed += changed != opened
        kept.append({name: _closed(value, packed.get(name), values.get(name)) for name, value in changed.items()})
    if not kept:
        raise UserError("no row is left, so there is no copy", where=str(out), remedy="Look at the rows first.")
    write_rows(out, kept)
    return Copied(len(kept), num_changed, num_dropped, num_unusable)


def _packed(cell: Any) -> list[Any] | None:
    """The list that a text holds as JSON, None where it holds none that could be written again."""
    if not isinstance(cell, str) or cell.lstrip()[:1] != "[":
        return None
    try:
        found = json.loads(cell)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _closed(value: Any, opened: list[Any] | None, cell: Any) -> Any:
    """A value as the source has it: as JSON where it was opened, and to the letter where it is as it was."""
    if opened is None:
        return value
    return cell if value == opened else json.dumps(value, ensure_ascii=False)


def _plain(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Values of JSON's kinds (a table may hold dates); None for those that no file takes, such as NaN."""
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, default=str)
        text.encode()
    except (ValueError, RecursionError):
        return None
    plain: dict[str, Any] = json.loads(text)
    return plain

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
    """Writes what `change` makes of each row (None: nothing). Raises UserError; then there is no copy."""
    kept: list[dict[str, Any]] = []
    num_changed = num_dropped = num_unusable = 0
    for row in source_rows(source, options):
        values = _plain(row.values) if isinstance(row, Row) else None
        if values is None:
            num_unusable += 1
            continue
        changed = change(values)
        if changed is None:
            num_dropped += 1
            continue
        num_changed += changed != values
        kept.append(dict(changed))
    if not kept:
        raise UserError("no row is left, so there is no copy", where=str(out), remedy="Look at the rows first.")
    write_rows(out, kept)
    return Copied(len(kept), num_changed, num_dropped, num_unusable)


def _plain(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Values of JSON's kinds (a table may hold dates); None for those that no file takes, such as NaN."""
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False, default=str)
        text.encode()
    except (ValueError, RecursionError):
        return None
    plain: dict[str, Any] = json.loads(text)
    return plain

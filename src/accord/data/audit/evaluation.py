"""The texts of evaluation files, in whatever columns: what training data must not hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from accord.data.formats.readers import source_rows
from accord.data.formats.reading import Row


def evaluation_texts(sources: Iterable[str]) -> list[tuple[str, str]]:
    """(place, text) of every text in every row of the sources. Raises UserError for one that cannot be read."""
    return [
        (row.place, text)
        for source in sources
        for row in source_rows(source)
        if isinstance(row, Row)
        for text in _texts(dict(row.values))
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)

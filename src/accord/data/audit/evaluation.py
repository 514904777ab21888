"""The texts of evaluation files, in whatever columns: what training data must not hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from accord.data.formats.readers import source_rows
from accord.data.formats.reading import Flaw, Row


@dataclass(frozen=True, slots=True)
class EvaluationTexts:
    """texts: (place, text) of every text in every row. unread: rows that could not be read, so that they may be in the
    training data unseen."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    unread: list[Flaw] = field(default_factory=list)


def evaluation_texts(sources: Iterable[str]) -> EvaluationTexts:
    """What the sources hold. Raises UserError for one that cannot be read."""
    found = EvaluationTexts()
    for source in sources:
        for row in source_rows(source):
            if isinstance(row, Row):
                found.texts.extend((row.place, text) for text in _texts(dict(row.values)))
            else:
                found.unread.append(replace(row, code="unread"))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)

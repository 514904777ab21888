"""The data sets that need no download by hand: `builtin:<name>` in a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from accord.data import film_posters, film_reviews
from accord.data.records import RecordKind
from accord.errors import UserError, did_you_mean

PREFIX = "builtin:"


@dataclass(frozen=True, slots=True)
class BuiltinData:
    """parts: name -> kind of its records. prepare: writes <part>.jsonl for each into a folder."""

    name: str
    licence: str
    source: str
    parts: Mapping[str, RecordKind]
    prepare: Callable[[Path], None]


BUILTIN: dict[str, BuiltinData] = {
    film_reviews.NAME: BuiltinData(
        film_reviews.NAME, film_reviews.LICENCE, film_reviews.SOURCE, film_reviews.PARTS, film_reviews.prepare
    ),
    film_posters.NAME: BuiltinData(
        film_posters.NAME, film_reviews.LICENCE, film_reviews.SOURCE, film_posters.PARTS, film_posters.prepare
    ),
}


def find(source: str) -> BuiltinData:
    """The data set of a source such as `builtin:film-reviews`. Raises UserError for any other."""
    name = source.removeprefix(PREFIX)
    if not source.startswith(PREFIX) or name not in BUILTIN:
        known = [PREFIX + known_name for known_name in BUILTIN]
        raise UserError(f"there is no data set {source!r}", remedy=did_you_mean(source, known))
    return BUILTIN[name]

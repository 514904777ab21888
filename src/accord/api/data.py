"""Data in every form that a recipe's `data` can name, as records."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from accord.data import catalog
from accord.data.records import RecordKind, read_records
from accord.errors import UserError, did_you_mean


def read_data(source: str | Path, *, part: str = "train", defects: str = "refuse", **options: Any) -> list[Any]:
    """The records of a file, a folder of files, `hub:OWNER/NAME` or `builtin:NAME`.

    They are of one kind, which the columns tell: Demonstration, Prompt, LabelledResponse, PlainText, RatedText, or
    pairs of a Comparison and its Judgements. part: of a built-in data set; any other has the part "train" alone.
    defects: "refuse" raises UserError when a row cannot be used, "drop" leaves it out. options: those of a data set in
    a recipe, such as kind, format, columns, limit, split; a built-in one has none.
    """
    name = str(source)
    if defects not in ("refuse", "drop"):
        raise UserError(f"defects: {defects!r} is not known", remedy=did_you_mean(defects, ["refuse", "drop"]))
    from accord.data import sources
    from accord.data.formats.options import ReadOptions
    from accord.data.formats.readers import read_source

    if sources.is_builtin(name):
        sources.check_no_options(name, options)
        return _builtin(name, part)
    if part != sources.ONLY_PART:
        what = f"{name!r} has no part {part!r}, but the part {sources.ONLY_PART!r} alone"
        raise UserError(what, remedy="Name the file of that part.")
    known = list(ReadOptions.__dataclass_fields__)
    for option in options:
        if option not in known:
            raise UserError(f"there is no option {option!r}", remedy=did_you_mean(option, [*known, "part", "defects"]))
    reading = read_source(name, ReadOptions(**options))
    remedy = 'Correct them, or leave them out with defects="drop".'
    sources.check_usable({part: reading}, name, drop=defects == "drop", remedy=remedy)
    return reading.records


def stored_records(folder: Path, part: str) -> list[Any]:
    """Of a data step's artifact. Raises UserError when it has no such part."""
    from accord.data.sources import NO_PARTS

    path = folder / f"{part}.jsonl"
    if not path.is_file():
        known = [one.stem for one in folder.glob("*.jsonl") if one.stem not in NO_PARTS]
        raise UserError(f"there is no part {part!r}", where=str(folder), remedy=did_you_mean(part, known))
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    columns = json.loads(first) if first else {}
    kind = next(kind for column, kind in _TOLD_BY.items() if column in columns or not column)
    return list(read_records(path, kind))


# What tells the kind of the store's own records, in this order.
_TOLD_BY: dict[str, RecordKind] = {
    "judgements": "comparisons",
    "label": "labelled",
    "completion": "demonstrations",
    "ratings": "ratings",
    "text": "texts",
    "": "prompts",
}


def _builtin(name: str, part: str) -> list[Any]:
    found = catalog.find(name)
    if part not in found.parts:
        raise UserError(f"{name!r} has no part {part!r}", remedy=did_you_mean(part, found.parts))
    with tempfile.TemporaryDirectory() as temp:
        found.prepare(Path(temp))
        return list(read_records(Path(temp) / f"{part}.jsonl", found.parts[part]))

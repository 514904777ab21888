"""What the commands on data are given, as readings by name: sources with their options, or all data of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.errors import UserError

if TYPE_CHECKING:
    from accord.data.formats.options import ReadOptions
    from accord.data.formats.reading import Reading
    from accord.recipe import Recipe

RECIPES = (".yaml", ".yml")


def read_options(form: str, kind: str, columns: Sequence[str] | None) -> ReadOptions:
    """The options of a source as the command line gives them. Raises UserError."""
    from accord.data.formats.options import ReadOptions

    return ReadOptions(form, kind, named_columns(columns))  # type: ignore[arg-type]  # it refuses what it does not know


def named_columns(columns: Sequence[str] | None) -> dict[str, str | list[str]]:
    """Ours -> the file's, one or several, from OURS=THEIRS. Raises UserError."""
    mapping: dict[str, str | list[str]] = {}
    for text in columns or []:
        ours, _, theirs = text.partition("=")
        if not (ours and theirs):
            raise UserError("this is not a column", where=f"--column {text}", remedy="Write --column OURS=THEIRS.")
        mapping[ours] = theirs.split(",") if "," in theirs else theirs
    return mapping


def files_read(sources: Sequence[str], recipe: Recipe | None = None) -> list[Path]:
    """The files of sources, or a recipe and those of its data: what a report must not be written over."""
    from accord.data.formats.hub import PREFIX
    from accord.data.formats.readers import files_of
    from accord.data.sources import by_part, is_builtin

    named = [one for spec in recipe.data for one in by_part(spec.source).values()] if recipe else list(sources)
    local = [source for source in named if not is_builtin(source) and not source.startswith(PREFIX)]
    return [*([recipe.path] if recipe else []), *(path for source in local for path in files_of(source))]


def is_recipe(sources: Sequence[str]) -> bool:
    """Whether a recipe is meant. Raises UserError for one among other sources."""
    recipes = [source for source in sources if Path(source).suffix in RECIPES]
    if recipes and len(sources) > 1:
        raise UserError("a recipe is checked by itself", where=recipes[0], remedy="Give it alone, or name its files.")
    return bool(recipes)


def read_sources(sources: Sequence[str], options: ReadOptions) -> dict[str, Reading]:
    """The reading of each source, by its name; of each part, of a built-in one. Raises UserError."""
    from accord.data.sources import is_builtin, read_parts

    found: dict[str, Reading] = {}
    for at, source in enumerate(sources):
        if source in sources[:at]:
            raise UserError(f"{source!r} is given twice", remedy="Name each source once.")
        for part, reading in read_parts(source, options).items():
            found[f"{source}.{part}" if is_builtin(source) else source] = reading
    return found


def read_recipe(path: Path) -> tuple[Recipe, dict[str, Reading]]:
    """A recipe, and every part of its data sets as its steps will see it. Raises UserError."""
    from accord.data.sources import read_parts
    from accord.data.splits import REST, split_records
    from accord.plan import make_plan
    from accord.recipe import load_recipe
    from accord.references import DATA
    from accord.steps.registry import STEPS

    recipe = load_recipe(path)
    found: dict[str, Reading] = {}
    for step in make_plan(recipe, STEPS).steps:
        if step.kind != DATA:
            continue
        config: Any = step.config
        for part, reading in read_parts(config.source, config.options).items():
            if part != REST or not config.splits:
                found[f"{step.name}.{part}"] = reading
                continue
            parts = split_records(reading.records, reading.kind, config.splits, step.seed)
            for name, members in parts.items():
                found[f"{step.name}.{name}"] = _part(reading, members, with_flaws=name == REST)
    if not found:
        raise UserError("the recipe has no data", where=str(path), remedy="It needs `data: {NAME: SOURCE}`.")
    return recipe, found


def _part(reading: Reading, members: Sequence[int], *, with_flaws: bool) -> Reading:
    """Some records of a reading, with the notes on them. A row that is no record is in no part: one part shows it."""
    from accord.data.formats.reading import Reading

    places = [reading.places[i] for i in members]
    own = set(places)
    flaws = reading.flaws if with_flaws else []
    num_rows = len(own) + (reading.num_left_out if with_flaws else 0)
    notes = [note for note in reading.notes if note.place in own]
    return Reading(reading.kind, [reading.records[i] for i in members], places, flaws, notes, num_rows)

"""What a source holds: in which format its rows are, and records of which kind they make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from accord.data.formats import argilla, columns, label_studio, mapping, renamed
from accord.data.formats.exchanges import Dialogues
from accord.data.formats.fields import Defect
from accord.data.formats.reading import Convert, Converted, Flaw, Recognise, Row
from accord.data.records import RecordKind
from accord.errors import UserError, did_you_mean

Format = Literal["auto", "columns", "dialogue", "argilla", "label-studio"]
_COLUMNS = "`columns: {OURS: THEIRS}` in a recipe, or --column OURS=THEIRS"

_DIALOGUES: Mapping[str, Dialogues] = {"columns": False, "dialogue": True}


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is read. Raises UserError for a value that is not possible.

    format: columns (named ones, TRL's or by `columns`), dialogue (texts as in HH-RLHF), argilla, label-studio; auto
    finds out. kind: of the records; auto tells it from the columns. columns: a column that Accord knows -> the file's
    (see `accord.data.formats.mapping`). limit: only the first rows. split, config, revision: of a data set of the hub.
    """

    format: Format = "auto"
    kind: RecordKind | Literal["auto"] = "auto"
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    limit: int | None = None
    split: str | None = None
    config: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("format", self.format, get_args(Format)),
            ("kind", self.kind, (*get_args(RecordKind), "auto")),
        ):
            if value not in known:
                raise UserError(f"{name}: {value!r} is not known", remedy=did_you_mean(str(value), known))
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit: {self.limit} rows are none", remedy="Give a number of at least 1.")
        mapping.check_columns(self.columns, exports=self.format not in _DIALOGUES)

    @property
    def wanted(self) -> RecordKind | None:
        """The kind that was asked for."""
        return None if self.kind == "auto" else self.kind


# The exports of annotation tools, in the order in which they are tried. Everything else is read by its columns.
EXPORTS: Mapping[str, tuple[Recognise, Convert]] = {
    "argilla": (argilla.recognise, argilla.convert),
    "label-studio": (label_studio.recognise, label_studio.convert),
}


def convert(row: Row, form: str, kind: RecordKind, options: ReadOptions) -> list[Converted]:
    """The records of a row, of the kind that the source holds. Raises Defect, which names the fields of the file."""
    if form in EXPORTS:
        return _of_kind(EXPORTS[form][1](row, options.columns), kind)
    names, row = _named(row, options)
    dialogues = _DIALOGUES.get(options.format)
    try:
        columns.check_kind(row.values, kind, options.wanted, dialogues)
        return columns.convert(row, kind, dialogues)
    except Defect as defect:
        found = [defect, *columns.other_defects(row, defect, dialogues)]
        theirs = [Defect(mapping.their_field(one.field, names), one.what, one.code) for one in found]
        theirs[0].others = tuple(theirs[1:])
        raise theirs[0] from defect


def _of_kind(converted: list[Converted], kind: RecordKind) -> list[Converted]:
    found = [one for one in converted if one[0] == kind]
    if not found:
        others = " and ".join(dict.fromkeys(other for other, _ in converted)) or "nothing"
        raise Defect("", f"holds {others}, and the source {kind}", "mixed-kinds")
    return found


def names_in(row: Row, form: str, options: ReadOptions) -> list[str]:
    """The columns of a row, those that are mapped by our names; none of an export of an annotation tool."""
    return (
        [] if form in EXPORTS else [name for name, value in _named(row, options)[1].values.items() if value is not None]
    )


def _kinds(row: Row, form: str, options: ReadOptions) -> list[RecordKind]:
    if form in EXPORTS:
        return [kind for kind, _ in EXPORTS[form][1](row, options.columns)]
    _, row = _named(row, options)
    shape = columns.shape_of(row.values, options.wanted, _DIALOGUES.get(options.format))
    return [shape.kind] if shape else []


def _named(row: Row, options: ReadOptions) -> tuple[mapping.Columns, Row]:
    names = mapping.usual(row.values, options.columns)
    return names, Row(row.place, mapping.mapped(row.values, names))


def decide(source: str, first: list[Row | Flaw], options: ReadOptions) -> tuple[RecordKind, str]:
    """The kind of record and the format that most of the first rows have. Raises UserError when they have none."""
    if not first:
        raise UserError("it holds no row", where=source, remedy="Check the source and its options.")
    good = [row for row in first if isinstance(row, Row)]
    if not good:
        raise UserError(
            f"no row can be read, and the first is:\n  {first[0]}", where=source, remedy="Correct the file."
        )
    present = dict.fromkeys(name for row in good for name in row.values)
    form = _form(good) if options.format == "auto" else options.format
    if form not in EXPORTS:
        mapping.check_columns(options.columns)
        mapping.check_present(options.columns, present, source)
    votes: Counter[RecordKind] = Counter()
    problem: Flaw | None = None
    for row in good:
        try:
            votes.update(list(dict.fromkeys(_kinds(row, form, options))))
        except Defect as defect:
            problem = problem or Flaw(row.place, defect.field, defect.what, defect.code)
    found = [kind for kind, _ in votes.most_common() if options.wanted in (None, kind)]
    if found:
        return found[0], form
    raise _unknown(source, list(present), form, options, problem)


def _unknown(source: str, present: list[str], form: str, options: ReadOptions, problem: Flaw | None) -> UserError:
    wanted = "data of a known kind" if options.kind == "auto" else options.kind
    reason = f", and the first row that cannot be used is:\n  {problem}" if problem else ""
    if form in EXPORTS:
        what = f"this export of {form} holds no {wanted}{reason}"
        return UserError(what, where=source, remedy=f"Name its fields with {_COLUMNS}.")
    _, remedy = renamed.lacking(present, [] if options.wanted is None else [options.wanted])
    meant = f"{remedy} " if remedy.startswith("Did you mean") else ""
    known = dict.fromkeys("+".join(one.columns) for one in columns.SHAPES if options.kind in ("auto", one.kind))
    return UserError(
        f"the columns do not tell {wanted}; they are {renamed.shown(present)}{reason}",
        where=source,
        remedy=f"{meant}Known: {'; '.join(known)}. Name the file's own with {_COLUMNS}.",
    )


def _form(good: Iterable[Row]) -> str:
    return Counter(
        next((name for name, (recognise, _) in EXPORTS.items() if recognise(row.values)), "columns") for row in good
    ).most_common(1)[0][0]

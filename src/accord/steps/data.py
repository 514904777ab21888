"""A data set of the recipe, as an artifact: one JSONL file for each part. Planned from the recipe's key `data`.

data:
  reviews: builtin:film-reviews
  mine: {source: prefs.jsonl.gz, splits: {test: 0.1}, defects: drop}
  theirs: {source: {train: a.csv, test: b.csv}, columns: {prompt: question, completion: answer}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from accord.data import catalog, sources
from accord.data.formats.options import Format, ReadOptions
from accord.data.formats.readers import lacking_in
from accord.data.formats.reading import Flaw, Reading, count_codes
from accord.data.records import RecordKind, write_records
from accord.data.splits import REST, check_shares, split_records
from accord.errors import UserError
from accord.steps.base import Job, StepConfig, StepKind

_PART = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Config(StepConfig):
    """source: `builtin:<name>`, a file, a folder of files or `hub:owner/name`; or a map from part to one of these.

    format: columns (named ones), dialogue (texts as in HH-RLHF), argilla or label-studio; auto finds out. kind: of the
    records; auto tells it from the columns. columns: {OURS: THEIRS}, for columns with other names; a list of theirs is
    joined, or becomes the list that ours is. limit: only the first rows. split, config, revision: of a data set of the
    hub. splits: {part: share} to take from `train`, by prompt. defects: whether a row that cannot be used is an error
    (refuse), or left out and listed in flaws.jsonl (drop). fingerprint: filled in from the content.
    """

    source: str | dict[str, str]
    format: Format = "auto"
    kind: RecordKind | Literal["auto"] = "auto"
    columns: dict[str, str | list[str]] = Field(default_factory=dict)
    limit: int | None = Field(None, ge=1)
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    splits: dict[str, float] = Field(default_factory=dict)
    defects: Literal["refuse", "drop"] = "refuse"
    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        source = values["source"]
        if sources.is_builtin(source):
            catalog.find(source)
            sources.check_no_options(source, [name for name in values if name != "source"])
            return values
        return {**values, "fingerprint": sources.fingerprint(source, values.get("revision"))}

    @model_validator(mode="after")
    def _check(self) -> Config:
        _ = self.options  # raises UserError for a mapping that cannot be
        check_shares(self.splits)
        taken = [] if isinstance(self.source, str) else list(self.source)
        for part in (*taken, *self.splits):
            if not _PART.fullmatch(part):
                raise UserError(f"{part!r} cannot be the name of a part", remedy="Use letters, digits, - and _.")
            if part.casefold() in sources.NO_PARTS:
                what = f"{part!r} cannot be the name of a part: a file of Accord's own is called so"
                raise UserError(what, remedy="Rename the part.")
        names = [name.casefold() for name in (*taken, *self.splits)]
        if repeated := next((name for i, name in enumerate(names) if name in names[:i]), None):
            raise UserError(f"two parts are called {repeated!r}", remedy="Rename one of them.")
        if self.splits and REST not in sources.by_part(self.source):
            raise UserError(f"splits are taken from the part {REST}, and there is none", remedy=f"Name one {REST}.")
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A new option with its default changes no key of a step."""
        fields = type(self).model_fields
        defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
        return {name: value for name, value in plain(self).items() if value != defaults[name]}

    @property
    def options(self) -> ReadOptions:
        return ReadOptions(self.format, self.kind, self.columns, self.limit, self.split, self.config, self.revision)

    @cached_property
    def _kinds(self) -> dict[str, RecordKind]:
        return sources.kinds_of(self.source, self.options)

    def parts(self) -> Mapping[str, RecordKind]:
        """The parts of the data set and the kind of their records. Raises UserError when the source cannot be read."""
        found = dict(self._kinds)
        for part in self.splits:
            found[part] = found[REST]
        return found

    def lacking(self, part: str, kinds: Sequence[RecordKind]) -> tuple[str, str]:
        """Which column a part lacks to be of one of the kinds, and what to do; ("", "") where columns do not tell."""
        if sources.is_builtin(self.source):
            return "", ""
        given = sources.by_part(self.source)
        return lacking_in(given.get(part, given.get(REST, "")), self.options, kinds)


def run(job: Job) -> None:
    config: Config = job.config
    if isinstance(config.source, str) and sources.is_builtin(config.source):
        catalog.find(config.source).prepare(job.work.out)
        return
    readings = sources.read_parts(config.source, config.options)
    if sources.fingerprint(config.source, config.revision) != config.fingerprint:
        what = "the data has changed since the plan was made"
        raise UserError(what, where=job.name, remedy="Run the same command again: it plans with the data as it is now.")
    remedy = "Correct them, or leave them out with the option `defects: drop` of the data set."
    sources.check_usable(readings, job.name, drop=config.defects == "drop", remedy=remedy)
    counts: dict[str, int] = {}
    for part, reading in readings.items():
        shares = config.splits if part == REST else {}
        indices = split_records(reading.records, reading.kind, shares, job.seed) if shares else None
        for name, members in (indices or {part: list(range(len(reading.records)))}).items():
            write_records(job.work.out / f"{name}.jsonl", reading.kind, [reading.records[i] for i in members])
            counts[name] = len(members)
    flaws = [flaw for reading in readings.values() for flaw in reading.flaws]
    if flaws:
        rows = (_line(flaw) for flaw in flaws)
        (job.work.out / "flaws.jsonl").write_text("".join(rows), encoding="utf-8")
    kinds = config.parts()
    job.write_json(
        "summary.json",
        {
            "parts": {name: {"kind": kinds[name], "num_records": count} for name, count in counts.items()},
            "sources": {part: _summary(config, part, reading) for part, reading in readings.items()},
        },
    )


def _line(flaw: Flaw) -> str:
    import json

    row = {"place": flaw.place, "field": flaw.field, "code": flaw.code, "what": flaw.what}
    return json.dumps(row, ensure_ascii=True) + "\n"


def _summary(config: Config, part: str, reading: Reading) -> dict[str, Any]:
    return {
        "source": sources.by_part(config.source)[part],
        "num_rows": reading.num_rows,
        "num_records": len(reading.records),
        "num_left_out": reading.num_left_out,
        "flaws": count_codes(reading.flaws),
        "notes": count_codes(reading.notes),
    }


STEP = StepKind(produces="data", version=2, config=Config, run=run)

"""What is known of a plan's model and data before it runs: dimensions, template, and a sample of each part's records.

What is in the store is taken from there. A data set that is not is made as its step makes it, in a temporary folder.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accord.data.records import RecordKind, read_records
from accord.data.splits import prompt_of
from accord.engine.sizes import Records
from accord.models.cost import Dimensions, dimensions_of
from accord.plan import Plan
from accord.references import DATA, MODEL
from accord.steps.base import Job, PlannedStep, Registry
from accord.store.artifacts import MODEL as MODEL_FOLDER
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.text.template import Template

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NUM_SAMPLED = 500  # records of a part that are tokenized
NUM_LONGEST = 5
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Model:
    """The recipe's model, without its weights."""

    config: PretrainedConfig
    dimensions: Dimensions
    template: Template


@dataclass(frozen=True, slots=True)
class Data:
    """Samples of a data set's parts, what its step says of it, and the seconds that it took to make."""

    parts: Mapping[str, Records]
    summary: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def model_of(plan: Plan, store: Store) -> Model:
    """Raises UserError when the model cannot be opened. What is built in is fetched when it is not in the cache."""
    from accord.models.catalog import config_of, load_template
    from accord.models.folders import load_config, load_tokenizer

    step = plan.steps[0]
    assert step.kind == MODEL
    if (artifact := store.here(step.kind, step.key)) is not None:
        folder = artifact.path / MODEL_FOLDER
        config, template = load_config(folder), Template(load_tokenizer(folder))
    else:
        source, options = plan.recipe.model, plan.recipe.model_options
        config, template = config_of(source), load_template(source, options)
    return Model(config, dimensions_of(config.to_dict(), plan.recipe.model), template)


def data_of(step: PlannedStep, registry: Registry, store: Store) -> Data:
    """Samples of a data set of the recipe. Raises UserError as its step would."""
    assert step.kind == DATA
    if (artifact := store.here(step.kind, step.key)) is not None:
        return _read(artifact.path, _kinds(step))
    with tempfile.TemporaryDirectory() as temp:
        work = Workspace(Path(temp) / "work")
        began = time.monotonic()
        registry[DATA].run(Job(step.name, step.config, step.seed, {}, work))
        seconds = time.monotonic() - began
        found = _read(work.out, _kinds(step))
        return Data(found.parts, found.summary, seconds)


def made_by(step: PlannedStep, store: Store, expected: Mapping[str, Records]) -> Mapping[str, Records]:
    """The parts of what another step makes: from the store, or else as they are expected."""
    artifact = store.here(step.kind, step.key)
    return expected if artifact is None else _read(artifact.path, _kinds(step)).parts


def sample(records: list[Any], kind: RecordKind, num: int = NUM_SAMPLED) -> Records:
    """`num` of the records, drawn from all over the data and left in its order, and the longest of all."""
    longest = sorted(records, key=lambda record: -len(repr(record)))[:NUM_LONGEST]
    ordinary = not any(prompt.is_safety for record in records if (prompt := prompt_of(record, kind)) is not None)
    if len(records) <= num:
        return Records(kind, records, len(records), longest, complete=True, ordinary=ordinary, counted=True)
    drawn = np.random.Generator(np.random.Philox(key=0)).permutation(len(records))[:num]
    return Records(kind, [records[i] for i in sorted(drawn)], len(records), longest, ordinary=ordinary, counted=True)


def _kinds(step: PlannedStep) -> Mapping[str, RecordKind]:
    config: Any = step.config
    found: Mapping[str, RecordKind] = config.parts()
    return found


def _read(folder: Path, kinds: Mapping[str, RecordKind]) -> Data:
    parts = {part: sample(read_records(folder / f"{part}.jsonl", kind), kind) for part, kind in kinds.items()}
    path = folder / SUMMARY
    return Data(parts, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})

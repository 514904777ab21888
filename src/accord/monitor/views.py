"""What pages and cards are made from: a run and its steps, as their files have them. Anything may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accord.monitor.cost import CostTable


@dataclass(frozen=True)
class StepView:
    """One step of a run. seconds: what it took when it ran. metrics: the rows of its metrics.jsonl. evaluation: its
    evaluation.json, where a reward model has one. summary: its summary.json. results: its results.json, where it
    measures; of a suite of attacks with the rows of `broken`, attacks that its last policy complies with, of which
    those are `new` that the one before it withstood. round: in a repeated block. inputs: the key of what each name in a
    field of its config stands for. selection: the selection.json of rejection sampling. manifest: its artifact's,
    without the files. samples: of an evaluation or a study of over-optimisation, its samples.json."""

    name: str
    kind: str
    seconds: float
    cached: bool
    key: str
    config: dict[str, Any]
    metrics: list[dict[str, float]] = field(default_factory=list)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    broken: Sequence[Mapping[str, Any]] = ()
    round: int | None = None
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class RunView:
    """All that a report is made from. results and samples may be empty or hold gaps: the run may be
    unfinished. unfinished: where it stands then, in sentences."""

    name: str
    recipe_text: str
    steps: list[StepView]
    results: dict[str, Any]
    samples: list[dict[str, Any]]
    created: str
    versions: dict[str, str]
    cost: CostTable | None = None
    unfinished: str = ""

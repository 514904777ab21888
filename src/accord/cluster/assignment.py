"""What a worker is told, and what it says at the end. Both cross between processes as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from accord.data.records import RecordKind
from accord.placement import Recompute, Sharding
from accord.steps.base import Input, PlannedStep
from accord.store.artifacts import Parent, Provenance, Store


@dataclass(frozen=True, slots=True)
class Assignment:
    """A step, and which of the processes that compute it the reader is.

    store: its root. inputs: field -> name, kind and key of the artifact, part, kind of its records. work: the step's
    work folder. stop: the file whose being there asks for a stop. rendezvous: where the processes find each other, as
    torch.distributed takes it. timeout: seconds that one waits for another. threads: to compute with (None: as torch
    has it). sharding, recompute, cpu_offload: as `accord.placement.Cluster` has it. config: whole; given: of it what is
    no default, since what goes together may depend on what was said. directory: in which the run was started, and which
    the paths of files in the config are relative to.
    """

    rank: int
    size: int
    rendezvous: str
    timeout: float
    threads: int | None
    sharding: Sharding
    recompute: Recompute
    cpu_offload: bool
    directory: str
    store: str
    work: str
    stop: str
    min_checkpoint_seconds: float
    name: str
    kind: str
    key: str
    version: int
    seed: int
    config: Mapping[str, Any]
    given: Mapping[str, Any]
    inputs: Mapping[str, list[tuple[str, str, str, str | None, RecordKind | None]]]

    @classmethod
    def of(cls, step: PlannedStep, **settings: Any) -> Self:
        """settings: all but what is the step's."""
        inputs = {
            field: [(link.name, link.step.kind, link.step.key, link.part, link.kind) for link in links]
            for field, links in step.parents.items()
        }
        return cls(
            name=step.name,
            kind=step.kind,
            key=step.key,
            version=step.version,
            seed=step.seed,
            config=step.config_json(),
            given=step.config.model_dump(mode="json", exclude_unset=True),
            inputs=inputs,
            **settings,
        )

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

    def inputs_in(self, store: Store) -> dict[str, tuple[Input, ...]]:
        """The resolved inputs of each field, whose digests whoever gave the assignment has compared."""
        return {field: tuple(_input(store, *one) for one in links) for field, links in self.inputs.items()}

    @property
    def provenance(self) -> Provenance:
        parents = {
            field: tuple(Parent(name, kind, key, part) for name, kind, key, part, _ in links)
            for field, links in self.inputs.items()
        }
        return Provenance(self.kind, self.name, self.key, self.version, dict(self.config), self.seed, parents)


def _input(store: Store, name: str, kind: str, key: str, part: str | None, records: RecordKind | None) -> Input:
    artifact = store.find(kind, key)
    if artifact is None:
        raise FileNotFoundError(f"{name} is not in the store {store.root}, as this worker sees it")
    return Input(name, artifact, part, records)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a worker ended.

    how: `done`; `interrupted`, by a stop that was asked for; `refused`, with what a user can mend; `left`, because
    another worker was gone or late; `failed`, for any other reason. what, where, remedy: of a refusal, or of the
    failure, whose traceback is `trace`.
    """

    how: Literal["done", "interrupted", "refused", "left", "failed"]
    what: str = ""
    where: str = ""
    remedy: str = ""
    trace: str = ""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))

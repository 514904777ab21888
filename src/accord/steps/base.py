"""What a step is: a kind, a Config that names its inputs, a version, and run(job), which writes one artifact."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, overload

from accord.data.derive import view
from accord.data.records import JudgedComparison, RecordKind, read_records
from accord.store.artifacts import MODEL, Artifact, Store
from accord.store.workspace import Workspace
from accord.strict import StrictModel
from accord.types import Demonstration, LabelledResponse, PlainText, Prompt, RatedText

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

Produces = Literal["model", "policy", "reward", "data", "results"]


@dataclass(frozen=True, slots=True)
class Ref:
    """Marks a Config field as the name of another step's artifact.

    wants: what that artifact must be ("policy" also accepts the recipe's model). records: for data, the kind of record
    that the step reads, e.g. the field value "reviews.sft" means part `sft` of the data set `reviews`. A part of
    another kind will do if it can be viewed as that kind (`accord.data.derive.VIEWS`). Several kinds: any of them.
    """

    wants: Literal["policy", "reward", "data"]
    records: RecordKind | tuple[RecordKind, ...] | None = None

    @property
    def kinds(self) -> tuple[RecordKind, ...]:
        """The kinds of record that will do; none: all."""
        if self.records is None:
            return ()
        return (self.records,) if isinstance(self.records, str) else self.records


PolicyRef = Annotated[str, Ref("policy")]
RewardRef = Annotated[str, Ref("reward")]
DemonstrationsRef = Annotated[str, Ref("data", "demonstrations")]
ExamplesRef = Annotated[str, Ref("data", ("demonstrations", "texts"))]
ComparisonsRef = Annotated[str, Ref("data", "comparisons")]
LabelledRef = Annotated[str, Ref("data", "labelled")]
RatingsRef = Annotated[str, Ref("data", "ratings")]
PromptsRef = Annotated[str, Ref("data", "prompts")]

LATEST = "latest"  # as a PolicyRef: the newest policy above the step in the recipe, or the recipe's model
PREVIOUS = "previous"  # as a PolicyRef in a repeated block: the last policy of the round before that of the newest one


class StepConfig(StrictModel):
    """The keys of a step."""


@dataclass(frozen=True, slots=True)
class Input:
    """A resolved reference: the artifact, and for data the part of it with the kind of its records.

    `name` is what the recipe calls it.
    """

    name: str
    artifact: Artifact
    part: str | None = None
    kind: RecordKind | None = None

    @property
    def model(self) -> Path:
        """The Hugging Face folder of a model, policy or reward model."""
        return self.artifact.path / MODEL

    @property
    def records(self) -> Path:
        """The file of a data set's part."""
        return self.artifact.file(f"{self.part}.jsonl")

    @overload
    def read(self, kind: Literal["demonstrations"]) -> list[Demonstration]: ...
    @overload
    def read(self, kind: Literal["prompts"]) -> list[Prompt]: ...
    @overload
    def read(self, kind: Literal["comparisons"]) -> list[JudgedComparison]: ...
    @overload
    def read(self, kind: Literal["labelled"]) -> list[LabelledResponse]: ...
    @overload
    def read(self, kind: Literal["texts"]) -> list[PlainText]: ...
    @overload
    def read(self, kind: Literal["ratings"]) -> list[RatedText]: ...

    def read(self, kind: RecordKind) -> Any:
        """The records of a data set's part, viewed as `kind`."""
        assert self.kind is not None, f"{self.name} is not a part of a data set"
        return view(read_records(self.records, self.kind), self.kind, kind)


@dataclass(frozen=True, slots=True)
class Job:
    """All that a step's run() is given.

    inputs: Config field name -> the resolved inputs of that field (one for `reward: proxy`, several for a list field).
    seed: derived from the recipe's seed and the step's name. store: for what a step makes on the way and other steps
    may need, too, known by its content (None: it is not kept).
    """

    name: str
    config: Any
    seed: int
    inputs: Mapping[str, tuple[Input, ...]]
    work: Workspace
    store: Store | None = None

    def input(self, field: str) -> Input:
        """The single input of a field."""
        (only,) = self.inputs[field]
        return only

    def write_json(self, name: str, content: Any) -> None:
        """A file of the artifact."""
        text = json.dumps(content, indent=2, allow_nan=False)
        (self.work.out / name).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Link:
    """An input of a step: the step that makes it, what the recipe calls it, and for data the part and its kind."""

    name: str
    step: PlannedStep
    part: str | None = None
    kind: RecordKind | None = None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step that can be run. parents: config field -> its inputs, in the order of the recipe."""

    name: str
    kind: str
    version: int
    config: StepConfig
    seed: int
    parents: Mapping[str, tuple[Link, ...]]
    key: str

    def config_json(self) -> dict[str, Any]:
        """The config as plain JSON, with its defaults."""
        return self.config.model_dump(mode="json")


@dataclass(frozen=True, slots=True)
class Caution:
    """Something of a step that may be run, and is hardly meant. key: of its Config, or `key.key` of a map in it. what:
    a sentence; remedy: what to change."""

    key: str
    what: str
    remedy: str = ""


class Contradiction(Exception):
    """Raised by a step's check: keys, or a key and what it refers to, that do not go together. As a Caution has it."""

    def __init__(self, key: str, what: str, remedy: str) -> None:
        self.key, self.what, self.remedy = key, what, remedy
        super().__init__(what)


Check = Callable[[PlannedStep], Iterable[Caution]]
Settled = Callable[[Artifact], str | None]


@dataclass(frozen=True, slots=True)
class StepKind:
    """A row of the registry. work: what run() will do with a config, for estimates (None: nothing worth a word).

    check: called when the plan is made, with the step's parents resolved; it reads no data and loads no model, gives
    cautions, and raises Contradiction. What one key alone, or the keys of one step among themselves, get wrong belongs
    there, too, when the message should point to a key.

    together: whether several processes can run it as one (`accord.engine.group`): what it computes is shared by them,
    and what it asks of others it asks once.

    settled: of a kind that can end a repeated block (`until`): why no further round is wanted, from its artifact, or
    None.
    """

    produces: Produces
    version: int
    config: type[StepConfig]
    run: Callable[[Job], None]
    work: Callable[[Any, Sizes], Work] | None = None
    check: Check | None = None
    settled: Settled | None = None
    together: bool = False

    def shares(self, config: StepConfig) -> bool:
        """Whether several processes run a step with this config as one: it is of a kind that they can run `together`,
        samples with no engine that is one process's alone, and trains no ensemble, whose members come one by one."""
        alone = getattr(config, "engine", "torch") != "torch" or getattr(config, "members", 1) > 1
        return self.together and not alone


Registry = Mapping[str, StepKind]

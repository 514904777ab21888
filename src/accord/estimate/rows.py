"""What each step of a plan will take: tokens, time, memory, disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from accord.engine.profile import Rates
from accord.engine.rollout import context_of
from accord.engine.sizes import Known, Sizes
from accord.engine.workload import Passes, Phase, Work
from accord.errors import UserError
from accord.estimate.inputs import Data, Model, data_of, made_by, model_of
from accord.estimate.room import PROMPTS, TOKENS, with_room
from accord.estimate.unguarded import unguarded
from accord.models.adapters import check_lora
from accord.models.cost import Dimensions, trained_bytes
from accord.models.lora import Lora
from accord.models.sources import locate
from accord.plan import Plan
from accord.references import DATA, MODEL
from accord.steps.base import Link, PlannedStep, Registry
from accord.store.artifacts import Artifact, Store
from accord.store.workspace import METRICS

PROGRAM = 430 << 20  # of memory, for Python, PyTorch and transformers themselves
_IN_PIECES = 1.15  # memory that is free, but in pieces too small to be used
_CHECKPOINT_SECONDS = 120.0
_NUM_CHECKPOINTS = 3  # the last two, and the one that is being written
_STEP_SECONDS = 1.0  # to open tokenizers, build modules and so on
_GGUF_TOKEN, _GGUF_PARAMETER = 3e-4, 1.2e-8  # seconds, to read a GGUF file's vocabulary (in Python) and its weights
_MASTERS, _STATE = 4, 12  # bytes a parameter, of a model's folder and of a checkpoint


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes at the peak of a step, by what can be done about them."""

    weights: int  # and gradients and moments
    activations: int
    cache: int
    fits: int

    @property
    def total(self) -> int:
        return self.weights + self.activations + self.cache + self.fits


@dataclass(frozen=True, slots=True)
class Row:
    """A step. trained, scored, sampled: tokens through models, counted once for each pass. seconds: None when nothing
    was timed. memory: at the peak. kept, beside: bytes of disk, of the artifact and of checkpoints until it is there.
    A cached step has only the seconds that it took."""

    step: PlannedStep
    cached: bool
    seconds: float | None = None
    trained: float = 0.0
    scored: float = 0.0
    sampled: float = 0.0
    memory: MemoryUse | None = None
    kept: int = 0
    beside: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """All steps of a plan, and what was taken for granted. data: what the steps of the data sets say of them. cautions:
    what of them may be run, and is hardly meant."""

    rows: tuple[Row, ...]
    data: Mapping[str, Data]
    responses: Mapping[str, tuple[float, int]]  # step -> mean and most tokens of the responses that it samples
    rates: Rates | None = None
    cautions: tuple[str, ...] = ()

    @property
    def to_run(self) -> list[Row]:
        return [row for row in self.rows if not row.cached]

    @property
    def seconds(self) -> float | None:
        known = [row.seconds for row in self.to_run if row.seconds is not None]
        return sum(known) if len(known) == len(self.to_run) else None

    @property
    def peak(self) -> int:
        return max((row.memory.total for row in self.to_run if row.memory is not None), default=0)

    @property
    def disk(self) -> int:
        """What will have been written at most at any time."""
        kept = most = 0
        for row in self.to_run:
            most = max(most, kept + row.kept + row.beside)
            kept += row.kept
        return most


class Estimator:
    """Estimates the steps of a plan, one after the other, as each knows the ones above it."""

    def __init__(self, plan: Plan, registry: Registry, store: Store) -> None:
        self.plan, self.registry, self.store = plan, registry, store
        self.model: Model = model_of(plan, store)
        self.data: dict[str, Data] = {}
        self.works: dict[str, Work] = {}
        self.bases: dict[str, str] = {}
        self.cautions: dict[str, None] = {}  # in order; what holds of a step in every round is said once
        wanted = {link.step.name for step in plan.steps for links in step.parents.values() for link in links}
        for step in plan.steps:
            if step.kind == DATA and step.name in wanted:
                self.data[step.name] = self._data(step)
            elif step.kind == MODEL:
                self.works[step.name] = self._prepare()
            else:
                self.works[step.name] = self._work(step)

    def estimate(self, rates: Rates | None, number: int) -> Estimate:
        """number: bytes of a number in the compute dtype. Without rates no seconds."""
        rows = tuple(self._row(step, rates, number) for step in self.plan.steps)
        return Estimate(rows, self.data, self.responses(), rates, tuple(self.cautions))

    def _prepare(self) -> Work:
        """What the model's own step does: its weights twice, as they are read and as they will be."""
        dimensions = self.model.dimensions
        policy, is_gguf = dimensions.policy_parameters, locate(self.plan.recipe.model).form in ("builtin", "gguf")
        seconds = _GGUF_TOKEN * dimensions.vocabulary + _GGUF_PARAMETER * policy if is_gguf else 0.0
        return Work([Phase(kept=2 * policy)], loaded=[policy], saved=[policy], seconds=seconds)

    def _data(self, step: PlannedStep) -> Data:
        try:
            return data_of(step, self.registry, self.store)
        except UserError as error:
            raise self.plan.located(error, step.name) from error

    def _work(self, step: PlannedStep) -> Work:
        describe = self.registry[step.kind].work
        if lora := getattr(step.config, "lora", None):
            self._check(step, lora)
            (start,) = step.parents["start"]
            self.bases[step.name] = start.step.key
        if describe is None:
            return Work()
        inputs = {field: tuple(self._known(link) for link in links) for field, links in step.parents.items()}
        if (said := unguarded(step, inputs)) is not None:
            self.cautions[f"{self.plan.where(step.name, 'prompts')}: {said}"] = None
        sizes = Sizes(self.model.dimensions, self.model.template, inputs, step.seed, step.name)
        tokens, context = getattr(step.config, TOKENS, None), context_of(self.model.config)
        try:
            if PROMPTS in inputs and tokens is not None and context is not None:
                sizes = with_room(sizes, tokens, context)
            return describe(step.config, sizes)
        except UserError as error:
            raise self.plan.located(error, step.name) from error
        except MemoryError as error:  # of the masks of its batches alone
            raise UserError(
                f"the batches of the step {step.name!r} are too large for this machine's memory",
                where=self.plan.where(step.name, *([TOKENS] if tokens is not None else [])),
                remedy="Lower max_response_tokens, max_tokens or the number of samples, where the step has them.",
            ) from error

    def _check(self, step: PlannedStep, lora: Lora) -> None:
        try:
            check_lora(self.model.config, lora)
        except UserError as error:
            where = self.plan.where(step.name, *error.where.split("."))
            raise UserError(error.what, where=where, remedy=error.remedy) from error

    def _known(self, link: Link) -> Known:
        name = link.step.name
        if link.part is not None:
            parts = (
                self.data[name].parts if name in self.data else made_by(link.step, self.store, self.works[name].makes)
            )
            return Known(link.step.key, parts.get(link.part))
        work = self.works[name]
        lengths = _as_measured(work.lengths, self.store.here(link.step.kind, link.step.key))
        asks = tuple(work.saved[:1] if work.asks is None else work.asks)
        base = self.bases.get(name, "") if len(asks) == 1 else ""  # an ensemble keeps a backbone of its own
        combines = tuple(part.step.key for part in link.step.parents.get("rewards", ()))
        return Known(link.step.key, None, lengths, asks, base, combines)

    def _row(self, step: PlannedStep, rates: Rates | None, number: int) -> Row:
        manifest = self.store.manifest(step.kind, step.key)
        if manifest is not None:
            return Row(step, True, float(manifest["seconds"]))
        if step.kind == DATA:
            known = self.data.get(step.name, Data({}))
            return Row(step, False, known.seconds)
        work, dimensions = self.works[step.name], self.model.dimensions
        seconds = None if rates is None else seconds_of(work, dimensions, rates)
        checkpoints = _NUM_CHECKPOINTS if seconds is None else min(int(seconds / _CHECKPOINT_SECONDS), _NUM_CHECKPOINTS)
        return Row(
            step,
            False,
            seconds,
            trained=work.tokens("train"),
            scored=work.tokens("forward"),
            sampled=work.tokens("decode"),
            memory=max((memory_of(phase, work, dimensions, number) for phase in work.phases), key=_total, default=None),
            kept=_MASTERS * sum(work.saved),
            beside=checkpoints * _STATE * work.checkpointed,
        )

    def responses(self) -> dict[str, tuple[float, int]]:
        """Of each step that samples: the mean of its responses' tokens, and the most that they may have."""
        found = {}
        for name, work in self.works.items():
            passes = [one for phase in work.phases for one in phase.passes if one.kind in ("prefill", "decode")]
            started = sum(one.head_rows * one.count for one in passes if one.kind == "prefill")
            if started:
                config = next(step.config for step in self.plan.steps if step.name == name)
                mean = sum(one.head_rows * one.count for one in passes) / started
                found[name] = (mean, int(getattr(config, "max_response_tokens", 0)))
        return found


def seconds_of(work: Work, dimensions: Dimensions, rates: Rates) -> float:
    """Of a step, its models read and written."""
    layers = dimensions.layers
    seconds = _STEP_SECONDS + work.seconds
    for phase in work.phases:
        seconds += sum(rates.seconds(one, layers) for one in phase.passes)
        seconds += sum(phase.trained) * (phase.updates * rates.update + rates.begin)
    seconds += 2 * rates.read * _MASTERS * sum(work.loaded)  # once for the digest, once to be opened
    seconds += rates.write * _MASTERS * sum(work.saved)
    seconds += rates.fit * sum(num**3 for num in work.fits)
    return seconds + int(seconds / _CHECKPOINT_SECONDS) * rates.write * _STATE * work.checkpointed


def memory_of(phase: Phase, work: Work, dimensions: Dimensions, number: int) -> MemoryUse:
    """At the peak of a phase of a step."""
    weights = sum(trained_bytes(num, number) for num in phase.trained) + number * sum(phase.frozen) + 4 * phase.kept
    if not phase.trained and phase.frozen:
        weights += 8 * max(phase.frozen)  # while it is opened: the file, and the weights in fp32
    if phase.cache:
        weights += number * dimensions.policy_parameters  # `accord.models.packed`
    passing = max((_pass_bytes(one, dimensions, number) for one in phase.passes), default=0)
    if phase.trained:
        passing += 2 * dimensions.embedding_parameters * number  # gradients of head and embeddings
    return MemoryUse(
        weights=PROGRAM + weights,
        activations=round(_IN_PIECES * passing),
        cache=dimensions.cache_bytes(phase.cache, number),
        fits=3 * 8 * max((num**2 for num in work.fits), default=0),
    )


def _pass_bytes(one: Passes, dimensions: Dimensions, number: int) -> int:
    passing = dimensions.passing_bytes(one.tokens, one.width, one.head_rows, number, one.keys)
    if one.kind == "train":
        return passing + dimensions.activation_bytes(one.tokens, one.width, one.head_rows, number, one.keys)
    if one.kind == "decode":
        return dimensions.passing_bytes(one.tokens, 1, 0, number) + one.tokens * dimensions.vocabulary * (number + 12)
    return passing


def _total(use: MemoryUse) -> int:
    return use.total


def _as_measured(lengths: tuple[int, ...] | None, artifact: Artifact | None) -> tuple[int, ...] | None:
    """Lengths with the mean that the policy's own responses had when it was made, where that was logged."""
    log = artifact.path / METRICS if artifact is not None else None
    if log is None or not log.is_file() or not (rows := log.read_text(encoding="utf-8").splitlines()):
        return lengths
    mean = json.loads(rows[-1]).get("response/mean_tokens")
    if mean is None:
        return lengths
    if not lengths:
        return (max(1, round(mean)),)
    scale = mean * len(lengths) / sum(lengths)
    return tuple(max(1, round(length * scale)) for length in lengths)

"""What `accord check --cluster` shows: each step of a plan on a cluster that need not be there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from accord.errors import UserError
from accord.estimate.cluster import ASSUMED
from accord.estimate.cluster_rows import PARTS, OnCluster, on_cluster
from accord.estimate.devices import Cluster
from accord.estimate.limits import gib
from accord.estimate.rows import Estimator
from accord.estimate.table import assumed_responses, table
from accord.models.stand_in import standing_in
from accord.placement import recomputes, splits
from accord.plan import Plan
from accord.recipe import Recipe
from accord.steps.base import PlannedStep, Registry
from accord.store.artifacts import Store
from accord.store.progress import clock_time

_HEAD = ("step", "kind", "state", "time", *PARTS, "GPU-hours", "memory", "GPUs")
_FEW_TOKENS = 8192  # of a micro-batch, where a GPU has something to do while weights are gathered


@contextmanager
def with_a_model(recipe: Recipe) -> Iterator[tuple[Recipe, str | None]]:
    """The recipe, with a stand-in for a model that is not here, and what is to be said of that. Raises UserError."""
    with standing_in(recipe.model) as found:
        if found is None:
            yield recipe, None
            return
        options = dict(recipe.model_options)
        if found.counts:  # they name tokens that the stand-in has not
            options = {name: value for name, value in options.items() if name == "chat_template"}
        yield replace(recipe, model=found.source, model_options=options), found.said


@dataclass(frozen=True, slots=True)
class OnClusterChecked:
    """Steps of a plan that are left to run (None: one that is in the store, or computes nothing), and where."""

    plan: Plan
    cluster: Cluster
    steps: tuple[tuple[PlannedStep, bool, OnCluster | None], ...]
    responses: dict[str, tuple[float, int]]
    said: str | None

    @property
    def to_run(self) -> list[tuple[PlannedStep, OnCluster]]:
        return [(step, one) for step, _, one in self.steps if one is not None]

    def lines(self) -> list[str]:
        """The table, and what was taken for granted below."""
        cells = [_HEAD, *(self._cells(*row) for row in self.steps)]
        total = sum(one.total for _, one in self.to_run)
        if self.to_run:
            sums = [sum(one.seconds[part] for _, one in self.to_run) for part in PARTS]
            peak = max((one.memory.needed for _, one in self.to_run if one.memory), default=0)
            most = [one.least for _, one in self.to_run if one.memory]
            least = "none" if None in most else str(max((one for one in most if one), default=1))
            times = (clock_time(total), *map(clock_time, sums))
            cells.append(("total", "", "", *times, _hours(total * self.cluster.gpus), gib(peak), least))
        return [*table(cells, num_words=3), "", *self._notes()]

    def _cells(self, step: PlannedStep, cached: bool, one: OnCluster | None) -> tuple[str, ...]:
        start = (step.name, step.kind, "cached" if cached else "to run")
        if one is None:
            return (*start, *[""] * (len(_HEAD) - 3))
        parts = (clock_time(one.seconds[part]) if one.seconds[part] >= 0.5 else "" for part in PARTS)
        memory = gib(one.memory.needed) if one.memory else ""
        least = "" if one.memory is None else "none" if one.least is None else str(one.least)
        return (*start, clock_time(one.total), *parts, _hours(one.total * self.cluster.gpus), memory, least)

    def _notes(self) -> list[str]:
        device = self.cluster.device
        within = f"{device.link / 1e9:g} GB/s between those of a machine"
        across = f", {device.network * 8 / 1e9:g} Gb/s each to others" if self.cluster.nodes > 1 else ""
        found = [
            f"cluster: {self.cluster}, {device.flops / 1e12:g} TFLOP/s in bf16, {gib(device.memory)} at "
            f"{device.bandwidth / 1e12:g} TB/s; {within}{across}",
            f"assumed: {ASSUMED.compute:.0%} of the peak in training and scoring, {ASSUMED.bandwidth:.0%} of the "
            f"memory's bandwidth in sampling, {ASSUMED.link:.0%} of links; all models on all GPUs, in turns",
            "memory: of each GPU; GPUs: how many of this kind are needed at least; other: starting, files, new weights",
            "not counted: checkpoints, people, and what a reward that is no model of the recipe takes",
        ]
        found += [f"model: {self.said}"] if self.said else []
        wanted = self.plan.recipe.cluster
        if wanted is not None and wanted.workers not in (None, self.cluster.gpus):
            found.append(f"the recipe wants {wanted.workers} workers, and this is for {self.cluster.gpus}")
        running = {step.name: one for step, one in self.to_run}
        how = {
            name: f"{one.at_once} at once on {one.parallel} GPU{'s' * (one.parallel > 1)}"
            for name, one in running.items()
            if one.parallel
        }
        found += assumed_responses({name: one for name, one in self.responses.items() if name in running}, how)
        again = [step.name for step, one in self.to_run if one.again]
        if again:
            found.append(f"activations are computed again in the backward pass: {', '.join(again)}")
        for step, one in self.to_run:
            if one.memory and one.memory.host:
                on_each = gib(one.memory.host * self.cluster.per_node)
                found.append(f"{step.name}: {on_each} of layers, gradients and moments in each machine's main memory")
        idle = [(step.name, one.busy) for step, one in self.to_run if one.busy < self.cluster.gpus]
        found += [f"{name}: an optimizer step has work for {num} GPUs; the others wait" for name, num in idle]
        waiting = [
            f"{step.name} (now {tokens})"
            for step, one in self.to_run
            if one.waits and (tokens := getattr(step.config, "max_tokens", _FEW_TOKENS)) < _FEW_TOKENS
        ]
        if waiting:
            found.append(
                f"training waits for weights that are gathered; with max_tokens {_FEW_TOKENS} it waits less: "
                f"{', '.join(waiting)}"
            )
        return found

    def refuse(self) -> None:
        """Raises UserError for the first step that does not fit."""
        for step, one in self.to_run:
            if one.fits or one.memory is None:
                continue
            there = self.cluster.device.memory
            missing = one.memory.needed - there
            if missing > 0:
                what = f"{gib(one.memory.needed)} on each of {_gpus(self.cluster)}, and each has {gib(there)}"
                what = f"the step {step.name!r} needs about {what}: {gib(missing)} too little"
            else:
                what = f"the step {step.name!r} leaves no room for the sampler on each of {_gpus(self.cluster)}"
            raise UserError(what, where=self.plan.where(step.name), remedy=f"{_parts(one)} {self._remedy(step, one)}")

    def _remedy(self, step: PlannedStep, one: OnCluster) -> str:
        ways = []
        if one.least is not None:
            ways.append(f"take {one.least} of them (--cluster {self.cluster.of(one.least)})")
        else:
            ways.append("take GPUs with more memory")
        if getattr(step.config, "lora", False) is None:
            ways.append(f"train adapters ({step.name}.lora: {{}})")
        assert one.memory is not None
        for key in ("max_tokens", "max_response_tokens"):
            if hasattr(step.config, key) and one.memory.passes > one.memory.shards:
                ways.append(f"lower {step.name}.{key} (now {getattr(step.config, key)})")
        text = ", or ".join(ways)
        return f"{text[0].upper()}{text[1:]}."


def check_on(
    plan: Plan, registry: Registry, store: Store, cluster: Cluster, said: str | None = None
) -> OnClusterChecked:
    """Estimates what is left to run of a plan on a cluster. Reads the data, and opens no weights. Raises UserError as
    the steps would."""
    estimator = Estimator(plan, registry, store)
    dimensions = estimator.model.dimensions
    asked = plan.recipe.cluster
    split = splits(asked.sharding if asked else "auto", dimensions.layers * dimensions.layer_parameters)
    again = recomputes(asked.activation_checkpointing if asked else "auto", split)
    offload = bool(asked and asked.cpu_offload)
    steps = []
    for step in plan.steps:
        work, cached = estimator.works.get(step.name), store.find(step.kind, step.key) is not None
        found = None
        if work is not None and any(phase.passes for phase in work.phases) and not cached and step is not plan.steps[0]:
            found = on_cluster(work, step.config, dimensions, cluster, split=split, again=again, offload=offload)
        steps.append((step, cached, found))
    return OnClusterChecked(plan, cluster, tuple(steps), estimator.responses(), said)


def _hours(gpu_seconds: float) -> str:
    hours = gpu_seconds / 3600
    return f"{hours:,.1f}" if hours < 100 else f"{hours:,.0f}"


def _gpus(cluster: Cluster) -> str:
    return f"{cluster.gpus} {cluster.device.name}"


def _parts(one: OnCluster) -> str:
    assert one.memory is not None
    sizes = {
        "weights, gradients and moments": one.memory.shards,
        "a pass": one.memory.passes,
        "the sampler": one.memory.sampler,
        "reserved": one.memory.reserve,
    }
    said = [f"{name} {gib(size)}" for name, size in sizes.items() if size > 50 << 20]
    return f"({', '.join(said)}.)"

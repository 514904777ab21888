"""What each step of a plan takes on a cluster: its passes, as `accord.estimate.rows` has them, by the model of
`accord.estimate.cluster`.

All roles share all GPUs and take turns; embeddings, heads and adapters are whole on each, layers in parts.
Micro-batches are those of the recipe (`max_tokens`), dealt out to the GPUs. A policy that samples with torch has all of
its layers gathered meanwhile, and the cache of all responses that a GPU writes at once; the time is vLLM's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accord.engine.workload import NUM_SLOTS, Phase, Work
from accord.engine.workload import Passes as Some
from accord.estimate import cluster as model
from accord.estimate.cluster import Efficiency, Held, Passes
from accord.estimate.cluster_passes import burst_of, flops_of, micros_of, units_of, whole_parameters
from accord.estimate.cluster_sampling import Burst, Sampling, sampling, smallest_room
from accord.estimate.devices import PER_NODE, Cluster
from accord.models.cost import Dimensions

_MASTERS = 4  # bytes a parameter, of a model's folder
_MOST = 4096  # GPUs that are looked for


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of each GPU, at the peak of a phase. shards: masters, moments, gradients and frozen weights. passes: layers
    that are gathered, and activations. sampler: its weights, and the cache that it cannot do without; cache: weights
    and cache where there is room. host: what lies in the main memory in place of the GPU's, in any phase."""

    shards: int
    passes: int
    sampler: int
    cache: int
    reserve: int
    host: int = 0

    @property
    def needed(self) -> int:
        """The sampler sleeps while models compute passes."""
        return self.reserve + self.shards + max(self.passes, self.sampler)

    @property
    def taken(self) -> int:
        return max(self.needed, self.reserve + self.shards + self.cache)


@dataclass(frozen=True, slots=True)
class _Kept:
    """How models are: in parts, and those in the main memory."""

    split: bool
    offload: bool

    def on(self, cluster: Cluster) -> _Kept:
        """One GPU has nothing to share."""
        split = self.split and cluster.gpus > 1
        return _Kept(split, split and self.offload)


@dataclass(frozen=True, slots=True)
class OnCluster:
    """A step. seconds: by part. again: activations are computed again in the backward pass. parallel, at_once: how
    its responses are sampled (0: none are). busy: GPUs that have work in every optimizer step. waits: training waits
    for the network. least: GPUs of this kind on which it fits (None: on none)."""

    seconds: Mapping[str, float]
    memory: Memory | None
    again: bool
    parallel: int
    at_once: int
    busy: int
    waits: bool
    fits: bool
    least: int | None

    @property
    def total(self) -> float:
        return sum(self.seconds.values())


PARTS = ("sampling", "scoring", "training", "other")


def on_cluster(
    work: Work,
    config: Any,
    dimensions: Dimensions,
    cluster: Cluster,
    *,
    split: bool = True,
    again: bool | None = None,
    offload: bool = False,
    assumed: Efficiency = model.ASSUMED,
) -> OnCluster:
    """A step's work on a cluster. split: layers lie in parts on all GPUs, and are not whole on each. again: activations
    are computed again in the backward pass (None: if they do not fit). offload: what lies in parts does so in the main
    memory."""
    kept = _Kept(split, offload)
    found = _in_the_better_way(work, config, dimensions, cluster, kept, again, assumed)
    least: int | None = cluster.gpus
    if found.fits:  # it may on fewer
        sizes = [size for size in _sizes(cluster) if size < cluster.gpus]
    else:
        least, sizes = None, [size for size in _sizes(cluster) if size > cluster.gpus]
    for size in sizes:
        if _in_the_better_way(work, config, dimensions, cluster.of(size), kept, again, assumed).fits:
            least = size
            break
    return replace(found, least=least)


def _sizes(cluster: Cluster) -> list[int]:
    """Numbers of GPUs that one would have: halves of a machine, then machines."""
    whole = cluster.of(max(cluster.gpus, PER_NODE)).per_node
    nodes = [1, 2, 3, 4, *(2**power for power in range(3, 12))]
    return [*(size for size in (1, 2, 4) if size < whole), *(num * whole for num in nodes if num * whole <= _MOST)]


def _in_the_better_way(
    work: Work,
    config: Any,
    dimensions: Dimensions,
    cluster: Cluster,
    kept: _Kept,
    again: bool | None,
    assumed: Efficiency,
) -> OnCluster:
    ways = iter((False, True) if again is None else (again,))
    found = _on(work, config, dimensions, cluster, kept, next(ways), assumed)
    for way in ways:
        if not found.fits:
            found = _on(work, config, dimensions, cluster, kept, way, assumed)
    return found


def _on(
    work: Work, config: Any, dimensions: Dimensions, cluster: Cluster, kept: _Kept, again: bool, assumed: Efficiency
) -> OnCluster:
    seconds = dict.fromkeys(PARTS, 0.0)
    memories: list[Memory] = []
    parallel = at_once = 0
    busy, waits, fits, samples = cluster.gpus, False, True, False
    for phase in work.phases:
        of_phase = _OfPhase(phase, work, config, dimensions, cluster, kept.on(cluster), again, assumed)
        for part, value in of_phase.seconds.items():
            seconds[part] += value
        memories.append(of_phase.memory)
        fits = fits and of_phase.fits
        waits = waits or of_phase.waits
        busy = min(busy, of_phase.busy)
        samples = samples or of_phase.burst is not None
        if of_phase.sampled is not None:
            parallel, at_once = of_phase.sampled.parallel, of_phase.sampled.at_once
    moved = _MASTERS * (sum(work.loaded) + sum(work.saved)) / assumed.storage
    started = (assumed.start if work.phases else 0.0) + assumed.engine * samples
    seconds["other"] += work.seconds + moved + started
    memory = max(memories, key=lambda one: one.needed, default=None)
    if memory is not None:
        memory = replace(memory, host=max(one.host for one in memories))
    trains = any(phase.trained for phase in work.phases)
    return OnCluster(seconds, memory, again and trains, parallel, at_once, busy, waits, fits, None)


class _OfPhase:
    """A phase of a step on a cluster."""

    def __init__(
        self,
        phase: Phase,
        work: Work,
        config: Any,
        dimensions: Dimensions,
        cluster: Cluster,
        kept: _Kept,
        again: bool,
        assumed: Efficiency,
    ) -> None:
        self.kept, self.adapters = kept, getattr(config, "lora", None) is not None
        self.phase, self.dimensions, self.cluster, self.assumed = phase, dimensions, cluster, assumed
        self.bursts = int(getattr(config, "num_iterations", 1)) if phase.trained else 1
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.waits, self.busy = False, cluster.gpus
        self.sampled: Sampling | None = None
        held = Held(
            tuple(phase.trained),
            tuple(phase.frozen),
            phase.kept,
            sum(num if self.adapters else whole_parameters(num, dimensions) for num in phase.trained),
            sum(whole_parameters(num, dimensions) for num in phase.frozen),
        )
        host = model.offloaded_bytes(held, cluster.gpus) if kept.offload else 0
        shards = model.shard_bytes(held, cluster.gpus if kept.split else 1) - host
        self.burst = burst_of(phase, work, config, self.bursts)
        training = [one for one in phase.passes if one.kind == "train"]
        self._train(training, config, again)
        self._score([one for one in phase.passes if one.kind == "forward"])
        room = round(assumed.sampler * cluster.device.memory) - assumed.reserve - shards
        least = cache = 0
        if self.burst is not None:
            found = sampling(self.burst, dimensions, cluster, room, assumed=assumed)
            widest = max(size for size in (1, 2, 4, 8) if size <= cluster.per_node and dimensions.heads % size == 0)
            least = smallest_room(self.burst, dimensions, widest) if found is None else found.weights
            self._sample(found)
            cache = least if found is None else found.weights + found.cache
            if getattr(config, "engine", "torch") == "torch":
                least = cache = self._torch_bytes(self.burst)
        passes = max(
            (self._pass_bytes(one, again) for one in phase.passes if one.kind in ("train", "forward")), default=0
        )
        self.memory = Memory(shards, passes, least, cache, assumed.reserve, host)
        self.fits = self.memory.needed <= cluster.device.memory and (self.burst is None or self.sampled is not None)

    def _torch_bytes(self, burst: Burst) -> int:
        """Of each GPU, while a policy of the engine's own samples."""
        gathered = model.NUMBER * self.dimensions.layers * self.dimensions.layer_parameters
        rows, own = (min(num, NUM_SLOTS) for num in (burst.responses, burst.responses / self.cluster.gpus))
        cache = self.dimensions.cache_bytes(round(self.phase.cache * max(own, 1) / max(rows, 1)), model.NUMBER)
        return gathered * self.kept.split + cache

    def _pass_bytes(self, one: Some, again: bool) -> int:
        train = one.kind == "train"
        return model.pass_bytes(
            self.dimensions, one.tokens, one.head_rows, train=train, again=again, assumed=self.assumed
        )

    def _train(self, training: Sequence[Some], config: Any, again: bool) -> None:
        """The policy's passes have a head of the vocabulary, those of a value or reward model none."""
        trained = list(self.phase.trained)
        base = max([*trained, *self.phase.frozen], default=0)  # what is gathered, of adapters the backbone, too
        units = units_of(config)
        for head in (True, False):
            some = [one for one in training if bool(one.head_rows) == head and one.count]
            if not some or not trained:
                continue
            own = trained[0] if head or len(trained) == 1 else trained[-1]
            updates = max(self.phase.updates, 1)
            gpus = max(1, min(self.cluster.gpus, units))
            self.busy = min(self.busy, gpus)
            passes = Passes(
                flops_of(some, self.dimensions) * self.cluster.gpus / gpus,
                max(micros_of(some) / gpus, updates),
                max(base, own),
                own,
                some[0].share,
            )
            layers = self.dimensions.layers
            self.seconds["training"] += model.training_seconds(
                passes, layers, self.cluster, again=again, offload=self.kept.offload, assumed=self.assumed
            )
            computing = model.training_seconds(passes, layers, self.cluster.of(1), again=again, assumed=self.assumed)
            traffic = passes.micros * model.traffic_seconds(
                passes, self.cluster, self.assumed, offload=self.kept.offload
            )
            self.waits = self.waits or traffic > computing / self.cluster.gpus
        for own in trained:
            self.seconds["training"] += self._update_seconds(own)

    def _update_seconds(self, trained: int) -> float:
        on_host = self.kept.offload and not self.adapters
        update = model.host_update_seconds if on_host else model.update_seconds
        return update(trained, self.phase.updates, self.cluster, assumed=self.assumed)

    def _score(self, some: Sequence[Some]) -> None:
        some = [one for one in some if one.count]
        if some:
            micros = max(micros_of(some) / self.cluster.gpus, self.bursts)
            passes = Passes(flops_of(some, self.dimensions), micros, self.dimensions.scalar_parameters)
            self.seconds["scoring"] += model.forward_seconds(
                passes, self.dimensions.layers, self.cluster, self.assumed, offload=self.kept.offload
            )

    def _sample(self, found: Sampling | None) -> None:
        self.sampled = found
        if found is None:
            return
        self.seconds["sampling"] += found.seconds * self.bursts
        if self.phase.trained:
            pushed = model.push_seconds(self.dimensions.policy_parameters, self.cluster, self.assumed)
            self.seconds["other"] += self.bursts * (pushed + self.assumed.switch)

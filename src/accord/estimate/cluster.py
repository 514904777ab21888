"""What passes take on a cluster: time and memory of each GPU, from dimensions alone. Pure.

P parameters of a model, W GPUs, bytes in bf16 (2 a number) but for masters, moments and gradients (4).

    training      compute      3 forward passes of operations, 4 where activations are computed again
                  traffic      a micro-batch gathers the weights twice (2 P each) and scatters gradients (4 P)
                  memory       16 P / W masters, moments and gradients, but 18 of what stays whole (embeddings, the
                               head; with the copy that is computed on); two gathered layers; activations
    forward       compute      one, and one gather a micro-batch
                  memory       2 P / W, but 2 of what stays whole
    decoding      a step       max(bytes of weights and of the cache / bandwidth, operations / peak) + a fixed time
                  memory       2 P / T in each of the T GPUs that share a copy, and the cache
    weight push   2 P gathered, once an iteration
    cpu_offload   memory       what lies in parts is in the machines' own memory; optimizer steps are taken there
                  traffic      a GPU's part comes to it before each gather, and its gradient goes back (4 P / W each, 2
                               of what is not trained)

Gathers of n bytes take n (W - 1) / W / bandwidth, and run while layers compute: a pass takes the longer of the two, and
one layer's gather that nothing hides. What hardware attains of its peak stands in `Efficiency`: round numbers from
public reports, the same for every model and cluster, fitted to none.
"""

from __future__ import annotations

from dataclasses import dataclass

from accord.estimate.devices import Cluster
from accord.models.cost import Dimensions

NUMBER = 2  # bytes of bf16
_MASTER = 4
_TRAINED = 16  # bytes of a trained parameter that are kept: master, two moments, gradient


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What is taken for granted.

    compute: of the peak, in training and forward passes, recomputation counted as work. Reports: torchtitan 0.33 to
    0.39 on H100 and 0.56 on A100 (docs/performance.md), Llama 3 0.38 to 0.43 on H100 (Dubey et al. 2024, table 4);
    trees of unequal lengths do worse than packed pre-training, so 0.4 of both. bandwidth: of the memory's, in
    decoding. link: of links and adapters. step: seconds of a decoding step that do not depend on the model
    (scheduling, launches, sampling). latency: seconds of an all-reduce within a machine, whatever its size. slots:
    responses at once in a copy of the sampler, at most. reserve: bytes of a GPU that are neither weights nor passes
    (context, communication). in_pieces: memory that is free, but in pieces too small to be used. sampler: the share of
    a GPU's memory that the sampler may fill. start: seconds to start a step's workers, and engine: those of the
    sampler. switch: seconds an iteration to put the sampler to sleep and wake it. storage: bytes a second that models
    are read and written with. host, pcie: bytes a second of a machine's memory, and of a GPU's way to it, where the
    optimizer is offloaded.
    """

    compute: float = 0.4
    bandwidth: float = 0.7
    link: float = 0.7
    step: float = 4e-3
    latency: float = 2e-5
    slots: int = 256
    reserve: int = 3 << 30
    in_pieces: float = 1.1
    sampler: float = 0.9
    start: float = 20.0
    engine: float = 60.0
    switch: float = 5.0
    storage: float = 2e9
    host: float = 100e9
    pcie: float = 25e9


ASSUMED = Efficiency()


@dataclass(frozen=True, slots=True)
class Passes:
    """Passes of one model over sequences. flops: of one forward pass over all of them. micros: micro-batches that each
    GPU computes, one after the other. parameters: of the model. trained: those of them that are."""

    flops: float
    micros: float
    parameters: int
    trained: int = 0
    share: float = 1.0


def gather_seconds(num_bytes: float, cluster: Cluster, assumed: Efficiency = ASSUMED) -> float:
    """To have, on every GPU, what lies in equal parts on all of them; or to add up and part."""
    gpus = cluster.gpus
    return num_bytes * (gpus - 1) / gpus / (cluster.bandwidth(gpus) * assumed.link)


def compute_seconds(flops: float, cluster: Cluster, assumed: Efficiency = ASSUMED) -> float:
    return flops / (cluster.gpus * cluster.device.flops * assumed.compute)


def forward_seconds(
    passes: Passes, layers: int, cluster: Cluster, assumed: Efficiency = ASSUMED, *, offload: bool = False
) -> float:
    """Without gradients, of a model that is not trained."""
    copied = NUMBER * passes.parameters / (cluster.gpus * assumed.pcie) if offload else 0.0
    traffic = passes.micros * (gather_seconds(NUMBER * passes.parameters, cluster, assumed) + copied)
    return _overlapped(compute_seconds(passes.flops, cluster, assumed), traffic, layers)


def training_seconds(
    passes: Passes,
    layers: int,
    cluster: Cluster,
    *,
    again: bool = True,
    offload: bool = False,
    assumed: Efficiency = ASSUMED,
) -> float:
    """Forward and backward. again: activations are computed again in the backward pass, and not kept."""
    compute = compute_seconds(passes.flops, cluster, assumed) * (3 * passes.share + again)
    traffic = passes.micros * traffic_seconds(passes, cluster, assumed, offload=offload)
    return _overlapped(compute, traffic, layers)


def traffic_seconds(passes: Passes, cluster: Cluster, assumed: Efficiency = ASSUMED, *, offload: bool = False) -> float:
    """Of a training micro-batch."""
    gathered = gather_seconds(2 * NUMBER * passes.parameters + _MASTER * passes.trained, cluster, assumed)
    copied = 3 * _MASTER * passes.trained + 2 * NUMBER * (passes.parameters - passes.trained)
    return gathered + (copied / (cluster.gpus * assumed.pcie) if offload else 0.0)


def _overlapped(compute: float, traffic: float, layers: int) -> float:
    return max(compute, traffic) + min(compute, traffic) / max(layers, 1)


def update_seconds(
    trained: int, updates: float, cluster: Cluster, *, offload: bool = False, assumed: Efficiency = ASSUMED
) -> float:
    """Optimizer steps: 32 bytes of each parameter are read or written. offload: on the machines' own processors, with
    gradients and new weights going to and fro."""
    if not offload:
        return updates * 32 * trained / (cluster.gpus * cluster.device.bandwidth * assumed.bandwidth)
    moved = (_MASTER + NUMBER) * trained / (cluster.gpus * assumed.pcie)
    return updates * moved + host_update_seconds(trained, updates, cluster, assumed)


def host_update_seconds(trained: int, updates: float, cluster: Cluster, assumed: Efficiency = ASSUMED) -> float:
    """Optimizer steps on the machines' own processors, of what is there."""
    return updates * 32 * trained / (cluster.nodes * assumed.host)


def push_seconds(parameters: int, cluster: Cluster, assumed: Efficiency = ASSUMED) -> float:
    """New weights from the learner's GPUs to the sampler's."""
    return gather_seconds(NUMBER * parameters, cluster, assumed) + NUMBER * parameters / cluster.gpus / assumed.pcie


@dataclass(frozen=True, slots=True)
class Held:
    """What is in a phase's memory. trained, frozen: parameters of each model. kept: of fp32 copies beside them.
    whole_trained, whole_frozen: those of them, of all models, that lie whole on every GPU."""

    trained: tuple[int, ...] = ()
    frozen: tuple[int, ...] = ()
    kept: int = 0
    whole_trained: int = 0
    whole_frozen: int = 0


def shard_bytes(held: Held, gpus: int, *, offload: bool = False) -> int:
    """Of each GPU, between passes; on one, all is whole. offload: masters, moments and gradients lie in the machines'
    own memory."""
    each = 0 if offload else _TRAINED
    copied = sum(held.trained) if gpus == 1 else held.whole_trained  # what is computed on, beside the masters
    whole = each * held.whole_trained + NUMBER * held.whole_frozen
    every = each * sum(held.trained) + _MASTER * (0 if offload else held.kept) + NUMBER * sum(held.frozen)
    return round(NUMBER * copied + whole + (every - whole) / gpus)


def offloaded_bytes(held: Held, gpus: int) -> int:
    """Of `shard_bytes` of each of several GPUs, what `cpu_offload` keeps in the main memory: all that lies in parts."""
    trained, frozen = sum(held.trained) - held.whole_trained, sum(held.frozen) - held.whole_frozen
    return round((_TRAINED * trained + _MASTER * held.kept + NUMBER * frozen) / gpus)


def pass_bytes(
    model: Dimensions, tokens: float, head_rows: float, *, train: bool, again: bool, assumed: Efficiency = ASSUMED
) -> int:
    """Of each GPU, while it computes a micro-batch: layers that are gathered, and activations. Attention keeps no
    scores (FlashAttention, FlexAttention).

    again: of each layer its input is kept alone, and one layer's activations at a time.
    """
    places, rows = round(tokens), round(head_rows)
    layer = NUMBER * model.layer_parameters
    ends = NUMBER * model.embedding_parameters * (1 if model.tied else 2)
    gathered = 2 * layer
    passing = model.passing_bytes(places, 0, rows, NUMBER)
    if not train:
        return round(gathered + assumed.in_pieces * passing)
    gradients = (NUMBER + _MASTER) * model.layer_parameters + ends
    kept = model.activation_bytes(places, 0, rows, NUMBER)
    if again:
        head = rows * model.vocabulary * NUMBER
        kept = head + (kept - head) // model.layers + NUMBER * model.layers * places * model.hidden
    return round(gathered + gradients + assumed.in_pieces * (passing + kept))

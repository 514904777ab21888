"""How long sampling takes on a cluster, with vLLM's way of doing it: copies of the weights, each on a few GPUs of one
machine, that take as many responses at once as their caches hold.

A decoding step reads the weights, and the cache of every response that is written: that is its time, unless so many
are written that operations take longer. Prompts are computed once each, however many responses they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from accord.estimate.cluster import ASSUMED, NUMBER, Efficiency, compute_seconds
from accord.estimate.devices import Cluster
from accord.models.cost import Dimensions


@dataclass(frozen=True, slots=True)
class Burst:
    """Responses that are sampled together. responses: how many. prompt_tokens: of all prompts, each once. mean,
    longest: tokens of a response. context: what a response attends to in the mean, its prompt with it."""

    responses: float
    prompt_tokens: float
    mean: float
    longest: float
    context: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a burst is sampled. parallel: GPUs that share a copy of the weights. at_once: responses in a copy. weights,
    cache: bytes of each GPU."""

    seconds: float
    parallel: int
    at_once: int
    weights: int
    cache: int


def sampling(
    burst: Burst,
    model: Dimensions,
    cluster: Cluster,
    room: int,
    *,
    parallel: int | None = None,
    assumed: Efficiency = ASSUMED,
) -> Sampling | None:
    """The fastest way that fits; None when none does. room: bytes of each GPU that weights and cache may have.
    parallel: the GPUs of a copy (None: as many as is best)."""
    sizes = [parallel] if parallel else [size for size in (1, 2, 4, 8) if model.heads % size == 0]
    ways = (_with(size, burst, model, cluster, room, assumed) for size in sizes if size <= cluster.per_node)
    return min((way for way in ways if way is not None), key=lambda way: way.seconds, default=None)


def smallest_room(burst: Burst, model: Dimensions, parallel: int) -> int:
    """Bytes of each GPU for the weights, and the cache of one response."""
    return _weights(model, parallel) + ceil(_response_bytes(burst, model) / parallel)


def _weights(model: Dimensions, parallel: int) -> int:
    return ceil(NUMBER * model.policy_parameters / parallel)


def _response_bytes(burst: Burst, model: Dimensions) -> int:
    """Of the cache, for a response of mean length when it is whole."""
    return model.cache_bytes(ceil(burst.context + burst.mean / 2), NUMBER)


def _with(
    parallel: int, burst: Burst, model: Dimensions, cluster: Cluster, room: int, assumed: Efficiency
) -> Sampling | None:
    weights, whole = _weights(model, parallel), _response_bytes(burst, model) / parallel
    slots = min(int((room - weights) / whole), assumed.slots)
    if slots < 1:
        return None
    copies = max(cluster.gpus // parallel, 1)
    each = max(burst.responses / copies, 1.0)  # responses of a copy
    at_once = min(slots, ceil(each))
    steps = max(burst.longest, each * burst.mean / at_once)
    active = each * burst.mean / steps
    device = cluster.device
    read = weights + active * model.cache_bytes(1, NUMBER) * burst.context / parallel
    operations = model.forward_flops(1, round(burst.context), 1) * active / parallel
    seconds = max(read / (device.bandwidth * assumed.bandwidth), operations / (device.flops * assumed.compute))
    if parallel > 1:
        sent = 2 * active * model.hidden * NUMBER * (parallel - 1) / parallel
        seconds += 2 * model.layers * (assumed.latency + sent / (device.link * assumed.link))
    width = round(max(burst.context - burst.mean / 2, 0) / 2)  # a prompt's tokens attend to half of it
    prefill = compute_seconds(
        model.forward_flops(1, width, 0) * burst.prompt_tokens, Cluster(device, 1, copies * parallel), assumed
    )
    return Sampling(steps * (seconds + assumed.step) + prefill, parallel, at_once, weights, ceil(at_once * whole))

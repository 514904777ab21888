"""The processes that compute one step together, each on a device of its own, all in the same order of calls.

Every process runs the whole step, and does a part of what is costly: its micro-batches of an optimizer step (`shared`),
its trees of a pass without gradients (`spread`), its prompts of a rollout. What comes of it is brought together before
anything depends on it, so all know the same and decide the same, and what each step's code is does not depend on how
many there are. `accord.cluster` starts them. A process by itself is a group of one, which costs nothing.

Which process computes what is a function of the work alone, so a result differs from that of a process by itself by
the order of sums alone (and the dropout of adapters, whose masks go by micro-batch, by what it drops).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from accord.models.compute import held_by
from accord.placement import Recompute, Sharding
from accord.text.batching import MicroBatch, balanced, iterate_micro_batches, micro_batches
from accord.text.tree import Tree

Item = TypeVar("Item")
_BUCKET = 1 << 24  # numbers that are summed over the processes in one call


class Group(Protocol):
    """rank: this process, from 0; 0 leads: it alone writes files. size: how many there are. sharding, recompute,
    cpu_offload: what was asked for, as `accord.placement.Cluster` has it. in_step: all have to make the same passes,
    because layers are gathered from all in each; so from the first module on that is split (`accord.engine.sharding`).
    patience: seconds after which one that is busy by itself says so to the others."""

    rank: int
    size: int
    sharding: Sharding
    recompute: Recompute
    cpu_offload: bool
    in_step: bool
    patience: float

    def gather(self, values: Tensor) -> list[Tensor]:
        """values: [n] on the CPU, n may differ. Returns what each process gave."""
        ...

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """In place, over the processes; the same shapes and dtypes in all."""
        ...


class Alone:
    """A process by itself."""

    rank, size = 0, 1
    sharding: Sharding = "none"
    recompute: Recompute = "off"
    cpu_offload = False
    in_step = False
    patience = math.inf

    def gather(self, values: Tensor) -> list[Tensor]:
        return [values]

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        pass


class Ranks:
    """The processes of torch.distributed, whose default group stands. A call raises RuntimeError when another process
    is gone, or has not come to the same call within the time that the group was made with."""

    def __init__(
        self,
        sharding: Sharding = "none",
        timeout: float = 600.0,
        recompute: Recompute = "auto",
        cpu_offload: bool = False,
    ) -> None:
        """timeout: that the group was made with."""
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.sharding, self.recompute, self.cpu_offload = sharding, recompute, cpu_offload
        self.patience = timeout / 4
        self.in_step = False

    def gather(self, values: Tensor) -> list[Tensor]:
        sizes = torch.zeros(self.size, dtype=torch.int64)
        sizes[self.rank] = len(values)
        dist.all_reduce(sizes)
        own = torch.zeros(int(sizes.max()), dtype=values.dtype)
        own[: len(values)] = values
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return [one[:size] for one, size in zip(found, sizes.tolist(), strict=True)]

    @torch.no_grad()
    def sum_(self, tensors: Sequence[Tensor]) -> None:
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            parts = flat.split([tensor.numel() for tensor in bucket])
            for tensor, part in zip(bucket, parts, strict=True):
                tensor.copy_(part.view_as(tensor))


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours of one dtype and device, so many that a call is worth its while."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        alike = not bucket or (bucket[0].dtype, bucket[0].device) == (tensor.dtype, tensor.device)
        if bucket and (not alike or size + tensor.numel() > _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


_current: ContextVar[Group] = ContextVar("group", default=Alone())  # noqa: B039 - it has no state
_idle: ContextVar[bool] = ContextVar("idle", default=False)


def current() -> Group:
    """The group that this process is in."""
    return _current.get()


@contextmanager
def joined(group: Group) -> Iterator[None]:
    """This process is in the group meanwhile."""
    before = _current.set(group)
    try:
        with held_by(_hold) if group.size > 1 else nullcontext():
            yield
    finally:
        _current.reset(before)


def _hold(module: nn.Module, dtype: torch.dtype | None, adapted: bool) -> None:
    from accord.engine.sharding import hold  # it imports much

    hold(module, dtype, adapted)


def is_idle() -> bool:
    """Whether what is computed now is computed for company only, and counts as nothing."""
    return _idle.get()


def shared(micros: Iterable[Item], load: Callable[[Item], float]) -> Iterator[Item]:
    """Of the parts of a sum those that this process computes. load: what one costs.

    A process that has none, or fewer than the others where all make the same passes, is given one once more, with
    `is_idle` while it is out: its loss and its metrics are zeros.
    """
    group = current()
    if group.size == 1:
        yield from micros
        return
    every = list(micros)
    if not every:
        return
    parts = balanced([load(one) for one in every], group.size)
    own = parts[group.rank]
    num = max(map(len, parts)) if group.in_step else max(len(own), 1)
    try:
        for at in range(num):
            _idle.set(at >= len(own))
            yield every[own[at] if at < len(own) else (own or [0])[-1]]
    finally:
        _idle.set(False)


def fair_micro_batches(trees: Sequence[Tree], max_tokens: int) -> list[MicroBatch]:
    """As `accord.text.batching.micro_batches`, but so small that every process of the group has one."""
    size = current().size
    share = -(-sum(tree.num_tokens for tree in trees) // size) if size > 1 else max_tokens
    return micro_batches(trees, min(max_tokens, share))


def shared_micro_batches(trees: Sequence[Tree], max_tokens: int) -> Iterator[MicroBatch]:
    """Those of an optimizer step, or of another sum, that this process computes."""
    if current().size == 1:
        return iterate_micro_batches(trees, max_tokens)
    return shared(fair_micro_batches(trees, max_tokens), places)


def places(micro: MicroBatch) -> float:
    """The load of a micro-batch."""
    return micro.num_places


def spread(items: Sequence[Item], load: Callable[[Item], float], compute: Callable[[Item], Tensor]) -> list[Tensor]:
    """What `compute` gives for each of the items, an fp32 tensor on the CPU, each computed by one process."""
    group = current()
    if group.size == 1:
        return [compute(item) for item in items]
    parts = balanced([load(item) for item in items], group.size)
    own = parts[group.rank]
    mine = [compute(items[i]) for i in own]
    if group.in_step and items:
        for _ in range(max(map(len, parts)) - len(own)):
            compute(items[(own or [0])[-1]])
    shapes = gather_json([list(one.shape) for one in mine])
    flat = group.gather(torch.cat([torch.empty(0), *(one.reshape(-1) for one in mine)]))
    found: list[Tensor] = [torch.empty(0)] * len(items)
    for part, of_part, values in zip(parts, shapes, flat, strict=True):
        sizes = [torch.Size(shape).numel() for shape in of_part]
        for i, shape, one in zip(part, of_part, values.split(sizes), strict=True):
            found[i] = one.view(shape)
    return found


def gather_json(value: Any) -> list[Any]:
    """What each process gave, as JSON keeps it (NaN among it)."""
    group = current()
    if group.size == 1:
        return [value]
    encoded = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    return [json.loads(bytes(one.tolist())) for one in group.gather(encoded)]


def agreed(value: Any) -> Any:
    """What the leading process gave: of what may differ between processes, such as the time."""
    return gather_json(value if current().rank == 0 else None)[0]


def summed(numbers: Mapping[str, float]) -> dict[str, float]:
    """The sums over the processes, in the order of these. Who has no number of a name adds nothing."""
    sums: dict[str, float] = {}
    for of_one in gather_json(dict(numbers)):
        for name, value in of_one.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums

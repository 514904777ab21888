"""Weights, gradients and moments of what is trained, split over the processes of a group: PyTorch's FSDP2.

Each process holds the rows of every matrix of the layers that are its part (torch.chunk along the first dimension) in
fp32; a layer is gathered, in the compute dtype, when it is computed, and its gradient is summed where its rows are.
Embeddings, heads and the last norm, which are read outside a forward pass, stay whole in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from accord.engine.group import current
from accord.models.compute import compute_device

AUTO: Final = 2_000_000_000  # parameters that are trained, beyond which `auto` shards


def shard(module: nn.Module, trained: Mapping[str, nn.Parameter], dtype: torch.dtype) -> dict[str, nn.Parameter]:
    """Splits the layers of a module over the group, where it is to be. Returns `trained`, as it is from now on.

    A module that is trained in part alone (adapters) is not split: what is trained of it is small.
    """
    group = current()
    layers = _layers(module)
    inside = {id(parameter) for layer in layers for parameter in layer.parameters()}
    of_layers = [parameter for parameter in trained.values() if id(parameter) in inside]
    whole = len(of_layers) == len(inside) > 0
    wanted = group.sharding == "full" or sum(parameter.numel() for parameter in of_layers) > AUTO
    if group.size == 1 or group.sharding == "none" or not whole or not wanted:
        return dict(trained)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    mesh = _mesh()
    policy = MixedPrecisionPolicy(param_dtype=None if dtype == torch.float32 else dtype, reduce_dtype=torch.float32)
    backbone = _backbone_of(module)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    outside = {parameter for parameter in backbone.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(backbone, mesh=mesh, mp_policy=policy, ignored_params=outside)
    for part in _parts(module):
        part.set_gradient_divide_factor(1.0)
        if mesh.device_type == "cpu":
            part.set_force_sum_reduction_for_comms(True)  # averages are wrong on gloo
    group.in_step = True
    now = dict(module.named_parameters())
    return {name: now[names[id(one)]] if id(one) in names else one for name, one in trained.items()}


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """All layers are gathered meanwhile, for passes of which the processes make different numbers. Without gradients.
    A module that is not split stays as it is."""
    parts = _parts(module)
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def local(parameter: nn.Parameter) -> Tensor:
    """The rows of a parameter that this process holds, in the same memory."""
    assert isinstance(parameter.data, DTensor)
    return parameter.data.to_local()


def taken_gradient(parameter: nn.Parameter) -> Tensor | None:
    """Of the rows that this process holds; the parameter has none after it."""
    grad, parameter.grad = parameter.grad, None
    assert grad is None or isinstance(grad, DTensor)
    return None if grad is None else grad.to_local()


def gathered(rows: Tensor, parameter: nn.Parameter) -> Tensor:
    """What is split as the parameter is, from the rows of each process; on the CPU, in all of them."""
    like = parameter.data
    assert isinstance(like, DTensor)
    split = DTensor.from_local(
        rows, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return split.full_tensor().cpu()


def rows_of(full: Tensor) -> Tensor:
    """Of a tensor those rows that this process holds when it is split."""
    parts = torch.chunk(full, current().size)
    return parts[current().rank] if current().rank < len(parts) else full[:0]


def is_split(parameter: Tensor) -> bool:
    """Whether this process has rows of it alone."""
    return isinstance(parameter, DTensor) or isinstance(parameter.data, DTensor)


def squared_norm(tensors: Iterable[Tensor]) -> float:
    """Of what is split: over all processes."""
    own = torch.zeros((), dtype=torch.float64)
    for tensor in tensors:
        own += tensor.double().square().sum().cpu()
    current().sum_([own])
    return float(own)


def _mesh() -> DeviceMesh:
    return init_device_mesh(compute_device().type, (dist.get_world_size(),))


def _parts(module: nn.Module) -> list[FSDPModule]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


def _backbone_of(module: nn.Module) -> nn.Module:
    backbone = getattr(module, str(getattr(module, "base_model_prefix", "")), module)
    assert isinstance(backbone, nn.Module)
    return backbone


def _layers(module: nn.Module) -> list[nn.Module]:
    """The decoder's layers: the longest list of modules that there is."""
    lists = [part for part in _backbone_of(module).modules() if isinstance(part, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))

"""The layers of models, split over the processes of a group: PyTorch's FSDP2.

Each process holds the rows of every matrix of the layers that are its part (torch.chunk along the first dimension), of
what is trained in fp32, with their gradients and moments, of other models in the compute dtype. A layer is gathered, in
the compute dtype, when it is computed, and its gradient is summed where its rows are. Embeddings, heads and the last
norm, which are read outside a forward pass, stay whole in every process. A model comes to the device a layer at a time.

With `cpu_offload` the rows lie in the main memory, pinned: a layer's come to the GPU whenever it is gathered, its
gradient goes back, and the optimizer's steps are taken on the processor. Where all is computed on processors, they are
where they would be.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    OffloadPolicy,
    fully_shard,
)
from torch.distributed.tensor import DTensor

from accord.engine.group import current
from accord.engine.leading import Joint
from accord.models.compute import cast_for_compute, compute_device, own_heads
from accord.models.layers import backbone_of, layers_of
from accord.placement import splits


def hold(module: nn.Module, dtype: torch.dtype | None, adapted: bool) -> None:
    """As `accord.models.compute.hold`, in a group. What is to be trained, or adapted, and is to be split, stays in the
    main memory until its learner splits it, or all its adapters are in."""
    gc.collect()  # what gathers a model's layers holds on to it: one that was let go of may still be there
    layers = layers_of(module)
    if not _splits(parameter for layer in layers for parameter in layer.parameters()):
        cast_for_compute(module, dtype or torch.float32, only=lambda one: not (adapted and one.requires_grad))
    elif dtype is None:
        own_heads(module)
    elif adapted:
        shard(module, {name: one for name, one in module.named_parameters() if one.requires_grad}, dtype)
        cast_for_compute(module, dtype, only=lambda one: not (one.requires_grad or isinstance(one, DTensor)))
    else:
        mesh, policy = _mesh(), MixedPrecisionPolicy()
        for layer in layers:
            cast_for_compute(layer, dtype)
            _split(layer, mesh, policy, set())
        _gather_in_passes(module, mesh, policy)
        cast_for_compute(module, dtype, only=lambda parameter: not isinstance(parameter, DTensor))


def shard(module: nn.Module, trained: Mapping[str, nn.Parameter], dtype: torch.dtype) -> dict[str, nn.Parameter]:
    """Splits the layers of a module that is trained, where they are to be and are not. Returns `trained`, as it is from
    now on. Adapters, which are small, stay whole, and what they adapt is split as what is not trained."""
    layers = layers_of(module)
    inside = [parameter for layer in layers for parameter in layer.parameters()]
    if not _splits(inside) or any(map(is_split, inside)):
        return dict(trained)
    ids = set(map(id, trained.values()))
    adapters = any(id(parameter) not in ids for parameter in inside)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    policy = MixedPrecisionPolicy()
    if not adapters:
        param_dtype = None if dtype == torch.float32 else dtype
        policy = MixedPrecisionPolicy(param_dtype=param_dtype, reduce_dtype=torch.float32)
    mesh = _mesh()
    for layer in layers:
        if adapters:
            cast_for_compute(layer, dtype, only=lambda parameter: not parameter.requires_grad)
        _split(layer, mesh, policy, {one for one in layer.parameters() if adapters and one.requires_grad})
    _gather_in_passes(module, mesh, policy)
    now = dict(module.named_parameters())
    return {name: now[names[id(one)]] if id(one) in names else one for name, one in trained.items()}


def _splits(of_layers: Iterable[nn.Parameter]) -> bool:
    group = current()
    num = sum(parameter.numel() for parameter in of_layers)
    return group.size > 1 and num > 0 and splits(group.sharding, num)


def _split(layer: nn.Module, mesh: DeviceMesh, policy: MixedPrecisionPolicy, apart: set[nn.Parameter]) -> None:
    """All but what is to stay apart. Whoever still has one of the parameters as it was has an empty one: it would be
    all of it."""
    before = [parameter for parameter in layer.parameters() if parameter not in apart]
    fully_shard(layer, mesh=mesh, mp_policy=policy, offload_policy=_offload(), ignored_params=apart)
    for parameter in before:
        parameter.data = parameter.data.new_empty(0)


def _gather_in_passes(module: nn.Module, mesh: DeviceMesh, policy: MixedPrecisionPolicy) -> None:
    """Once all layers are split."""
    backbone = backbone_of(module)
    outside = {parameter for parameter in backbone.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(backbone, mesh=mesh, mp_policy=policy, offload_policy=_offload(), ignored_params=outside)
    for part in _parts(module):
        part.set_gradient_divide_factor(1.0)
        if mesh.device_type == "cpu":
            part.set_force_sum_reduction_for_comms(True)  # averages are wrong on gloo
    current().in_step = True


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


def local(parameter: Tensor) -> Tensor:
    """The rows of a parameter that this process holds, in the same memory."""
    assert isinstance(parameter.data, DTensor)
    return parameter.data.to_local()


def taken_gradient(parameter: nn.Parameter) -> Tensor | None:
    """Of the rows that this process holds; the parameter has none after it."""
    grad, parameter.grad = parameter.grad, None
    assert grad is None or isinstance(grad, DTensor)
    return None if grad is None else grad.to_local()


def _gathered(rows: Tensor, parameter: Tensor) -> Tensor | None:
    """What is split as the parameter is, from the rows of each process; in the main memory of the leading one alone.
    All have to ask."""
    like = parameter.data
    assert isinstance(like, DTensor)
    split = DTensor.from_local(
        rows, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    full = split.full_tensor()
    return full.cpu() if current().rank == 0 else None


def whole_of(own: Mapping[str, Tensor], split: Mapping[str, Tensor]) -> Joint:
    """Tensors as they are written: of what is split, by the parameters that it is split as, `own` has the rows of this
    process. They are gathered one at a time, as a machine need not hold all of what it writes."""
    outlines = {
        name: torch.empty(split[name].shape if name in split else rows.shape, dtype=rows.dtype, device="meta")
        for name, rows in own.items()
    }
    here = {name: rows for name, rows in own.items() if name not in split}
    return Joint(outlines, here, lambda name: _gathered(own[name], split[name]))


def kept(tensors: Mapping[str, Tensor]) -> Joint:
    """For a checkpoint: as `whole_of`, of tensors of which some are split themselves."""
    split = {name: tensor for name, tensor in tensors.items() if is_split(tensor)}
    return whole_of({name: local(one) if name in split else one for name, one in tensors.items()}, split)


def fill(target: Tensor, source: Tensor) -> None:
    """Copies what is whole, or split as the target is."""
    if not is_split(target):
        target.copy_(source)
    else:
        local(target).copy_(local(source) if is_split(source) else rows_of(source))


def rows_of(full: Tensor) -> Tensor:
    """Of a tensor those rows that this process holds when it is split."""
    parts = torch.chunk(full, current().size)
    return parts[current().rank] if current().rank < len(parts) else full[:0]


def has_parts(module: nn.Module) -> bool:
    """Whether its layers are split."""
    return bool(_parts(module))


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


def _offload() -> OffloadPolicy:
    if not current().cpu_offload:
        return OffloadPolicy()
    return CPUOffloadPolicy(pin_memory=compute_device().type == "cuda")


def _parts(module: nn.Module) -> list[FSDPModule]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]

"""What models compute in and on: the dtype, the device, and how a module is brought there.

Everything but models, their learners and the sampler is in the main memory: batches are made there, and what a model
says of them comes back there, a number a token. So nothing else in the program knows of devices.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from accord.errors import UserError, did_you_mean
from accord.machine import processor, usable_processors

if TYPE_CHECKING:
    from accord.models.adapters import Backbone


def compute_dtype() -> torch.dtype:
    """bfloat16 where the processor or GPU multiplies it natively, else fp32; or as ACCORD_DTYPE says.

    Raises UserError.
    """
    asked = os.environ.get("ACCORD_DTYPE")
    if asked:
        if asked not in _DTYPES:
            raise UserError(f"{asked!r} is no dtype", where="ACCORD_DTYPE", remedy=did_you_mean(asked, _DTYPES))
        return _DTYPES[asked]
    return torch.bfloat16 if _native_bfloat16() or _on_gpu() else torch.float32


def compute_device() -> torch.device:
    """The processor, or what ACCORD_DEVICE names. Raises UserError.

    A GPU has to be asked for: its path is held against the processor's by `python -m bench gpu-agree`, which no machine
    with one has run yet.
    """
    asked = os.environ.get("ACCORD_DEVICE") or "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise UserError(f"{asked!r} is no device", where="ACCORD_DEVICE", remedy="Write `cpu` or `cuda`.") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"Accord does not compute on {asked!r}", where="ACCORD_DEVICE", remedy="Write `cpu` or `cuda`.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("this torch finds no GPU", where="ACCORD_DEVICE", remedy="Write `cpu`, or leave it out.")
    return device


def dtype_name() -> str:
    """Of `compute_dtype`, as ACCORD_DTYPE takes it."""
    return str(compute_dtype()).removeprefix("torch.")


def describe_compute() -> str:
    """In words, what models compute in and on: "bfloat16 on the CPU (AMX), 2 threads"."""
    if _on_gpu():
        return f"{dtype_name()} on {torch.cuda.get_device_name(compute_device())}"
    if os.environ.get("ACCORD_DTYPE"):
        why = "as ACCORD_DTYPE says"
    else:
        why = _native_bfloat16() or "it multiplies no bfloat16"
    threads = torch.get_num_threads()
    return f"{dtype_name()} on the CPU ({why}), {threads} thread{'s' if threads != 1 else ''}"


def _on_gpu() -> bool:
    """One that is too old for bfloat16 is none that anybody trains on."""
    return compute_device().type == "cuda"


def _native_bfloat16() -> str:
    """What of the processor multiplies bfloat16, or nothing."""
    names = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
    capabilities = torch.cpu.get_capabilities()
    return next((name for key, name in names.items() if capabilities.get(key)), "")


_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def dtype_of(module: Backbone) -> torch.dtype:
    """In which a model computes: that of its embeddings."""
    return _embeddings(module).dtype


def device_of(module: Backbone) -> torch.device:
    """On which a model computes: that of its embeddings."""
    return _embeddings(module).device


def _embeddings(module: Backbone) -> Tensor:
    weight = module.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight


def cast_for_compute(
    module: torch.nn.Module, dtype: torch.dtype, only: Callable[[torch.nn.Parameter], bool] = lambda _: True
) -> None:
    """Brings parameters to the device and casts them, in place. Heads and buffers (rotary frequencies) stay fp32."""
    device = compute_device()
    for name, parameter in module.named_parameters():
        if name.startswith("score."):
            # A view of the file would keep all of the file in memory.
            parameter.data = parameter.data.to(device, copy=True)
        elif only(parameter):
            parameter.data = aligned(parameter.data.to(device, dtype))
    for buffer in module.buffers():
        buffer.data = buffer.data.to(device)


_ALIGNMENT: Final = 64  # bytes: of what torch allocates on a processor, and of its longest vectors


def aligned(weight: Tensor) -> Tensor:
    """A weight where torch would have put it, copied if it is not there. What is read of a file is a view of it and
    begins wherever the file's header ends, and the order of a product's sums depends on where its weight begins."""
    misplaced = weight.device.type == "cpu" and weight.data_ptr() % _ALIGNMENT
    return weight.clone() if misplaced else weight


Holding = Callable[[torch.nn.Module, torch.dtype | None, bool], None]


def _whole(module: torch.nn.Module, dtype: torch.dtype | None, adapted: bool) -> None:
    cast_for_compute(module, dtype or torch.float32, only=lambda one: not (adapted and one.requires_grad))


_holding: ContextVar[Holding] = ContextVar("holding", default=_whole)


def hold(module: torch.nn.Module, dtype: torch.dtype | None, *, adapted: bool = False) -> None:
    """Brings a model that was opened to where it is computed, in place: whole, or as `held_by` has it. dtype: in which
    it is computed on alone (None: it will be trained, and stays in fp32 until then). adapted: all its adapters are in;
    those that are trained stay as they are, until their learner takes them."""
    _holding.get()(module, dtype, adapted)


@contextmanager
def held_by(holding: Holding) -> Iterator[None]:
    """Models that are opened meanwhile are held in this way."""
    before = _holding.set(holding)
    try:
        yield
    finally:
        _holding.reset(before)


def own_heads(module: torch.nn.Module) -> None:
    """Score heads get memory of their own, which the caller may write to: what is read of a file is a view of it."""
    for name, parameter in module.named_parameters():
        if name.startswith("score."):
            parameter.data = parameter.data.clone()


def compute_place() -> tuple[str, str, int]:
    """Kind and name of what models compute on, and how many: GPUs, or processors that this process may use."""
    device = compute_device()
    if device.type == "cuda":
        return "cuda", torch.cuda.get_device_name(device), 1
    return "cpu", processor()[0], usable_processors()

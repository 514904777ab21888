"""RMSNorm and SwiGLU that keep for their gradients what is there anyway, in a decoder of any architecture.

transformers writes both as chains of elementwise operations, and of each the backward pass is left a result. Here each
is one function that keeps its inputs alone and computes the rest again, on a processor in pieces of rows that stay in
its cache. Outputs are the same to the last bit. So are SwiGLU's gradients; RMSNorm's are computed in fp32 and rounded
once. Zhang and Sennrich 2019, arXiv:1910.07467; Shazeer 2020, arXiv:2002.05202.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import silu

_PIECE: Final = 2**17  # numbers of a piece and thread: 512 KiB in fp32


def own_gradients(module: nn.Module) -> None:
    """Gives norms and gated MLPs these functions, in place, where their class computes what these do: it is tried on
    numbers of all sizes. Parameters, names and outputs stay as they are."""
    found: dict[type[nn.Module], type[nn.Module]] = {}
    for part in module.modules():
        if (kind := type(part)) not in found:
            found[kind] = _with_own(part)
        if found[kind] is not kind:
            part.__class__ = found[kind]


def _with_own(part: nn.Module) -> type[nn.Module]:
    """The class of a module, or one that differs from it in its forward pass with gradients alone."""
    kind = type(part)
    for own, small in ((_norm, _small_norm), (_gated, _small_gated)):
        try:
            if (probe := small(part)) is not None and all(_agree(kind, own, probe, dtype) for dtype in _DTYPES):
                return type(kind.__name__, (kind,), {"forward": _forward(kind, own), "__module__": kind.__module__})
        except Exception:  # a class that looks like one of these and is none may raise anything
            continue
    return kind


_DTYPES: Final = (torch.float32, torch.bfloat16)
_WIDTH: Final = 8  # of the inputs that a class is tried on


def _agree(kind: type[nn.Module], own: Callable[[Any, Tensor], Tensor], probe: nn.Module, dtype: torch.dtype) -> bool:
    probe = probe.to(dtype)
    rows = _numbers(-9, 7, 4 * _WIDTH).view(2, 2, _WIDTH)
    rows = (rows * 10.0 ** _numbers(-4, 4, _WIDTH)).to(dtype)
    with torch.no_grad():
        return torch.equal(kind.forward(probe, rows), own(probe, rows))


def _numbers(first: float, last: float, many: int) -> Tensor:
    return torch.linspace(first, last, many, device="cpu")  # also where weights are made without numbers


def _forward(kind: type[nn.Module], own: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    def forward(self: Any, rows: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return own(self, rows)
        plain: Tensor = kind.forward(self, rows)
        return plain

    return forward


def _norm(module: Any, rows: Tensor) -> Tensor:
    normed: Tensor = RMSNorm.apply(rows, module.weight, module.variance_epsilon)
    return normed


def _small_norm(part: nn.Module) -> nn.Module | None:
    """A norm of the class, with a weight of its own; None for what is no norm."""
    if {*part._parameters} != {"weight"} or part._modules or part._buffers or not hasattr(part, "variance_epsilon"):
        return None
    probe = copy.copy(part)
    probe._parameters = {"weight": nn.Parameter(_numbers(-2, 3, _WIDTH))}
    return probe


def _gated(module: Any, rows: Tensor) -> Tensor:
    product: Tensor = module.down_proj(SwiGLU.apply(module.gate_proj(rows), module.up_proj(rows)))
    return product


def _small_gated(part: nn.Module) -> nn.Module | None:
    """A gated MLP of the class, on matrices that are numbers; None for what is no gated MLP."""
    if part._parameters or part._buffers or {*part._modules} != {"gate_proj", "up_proj", "down_proj", "act_fn"}:
        return None
    if [*part.act_fn.parameters()]:  # type: ignore[union-attr]
        return None
    probe = copy.copy(part)
    numbers = {"gate_proj": 0.7, "up_proj": -1.3, "down_proj": 2.1}
    probe._modules = {**part._modules, **{name: _Times(number) for name, number in numbers.items()}}
    return probe


class _Times(nn.Module):
    def __init__(self, number: float) -> None:
        super().__init__()
        self._number = number

    def forward(self, rows: Tensor) -> Tensor:
        return rows * self._number


class RMSNorm(torch.autograd.Function):
    """weight * rows / sqrt(mean(rows^2) + epsilon), rounded before it is multiplied by its weight, as Llama has it.

    rows: [..., d], weight: [d].
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        flat = rows.reshape(-1, rows.shape[-1])
        normed = torch.empty(rows.shape, dtype=torch.result_type(weight, rows), device=rows.device)
        scales = torch.empty(len(flat), 1, device=rows.device)
        for piece, out, scale in _pieces(flat, normed.view(flat.shape), scales):
            wide = piece.to(torch.float32)
            torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon, out=scale)
            torch.mul(weight, (wide * scale).to(piece.dtype), out=out)
        ctx.save_for_backward(rows, weight, scales)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor | None, None]:
        """With n = rows * scale and g = above * weight: scale (g - n mean(g n)), and of the weight the sum of above * n
        over all rows."""
        rows, weight, scales = ctx.saved_tensors
        flat, gradient = rows.reshape(-1, rows.shape[-1]), torch.empty_like(rows, memory_format=torch.contiguous_format)
        of_weight = torch.zeros_like(weight, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        wide_weight = weight.to(torch.float32)
        pieces = _pieces(flat, above.reshape(flat.shape), gradient.view(flat.shape), scales)
        for piece, piece_above, out, scale in pieces:
            normed, wide = piece.to(torch.float32, copy=True).mul_(scale), piece_above.to(torch.float32, copy=True)
            along = wide * normed
            if of_weight is not None:
                of_weight += along.sum(0)
            mean = (along @ wide_weight).div_(-along.shape[-1]).unsqueeze_(1)
            out.copy_(wide.mul_(wide_weight).addcmul_(normed, mean).mul_(scale))
        return gradient, None if of_weight is None else of_weight.to(weight.dtype), None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up, both [..., f]."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        product = torch.empty_like(up, memory_format=torch.contiguous_format)
        for one, other, out in _pieces(*(some.reshape(-1, gate.shape[-1]) for some in (gate, up, product))):
            torch.mul(silu(one), other, out=out)
        ctx.save_for_backward(gate, up)
        return product

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_gate, of_up = (torch.empty_like(up, memory_format=torch.contiguous_format) for _ in range(2))
        every = (some.reshape(-1, gate.shape[-1]) for some in (gate, up, above, of_gate, of_up))
        for one, other, piece, out, out_up in _pieces(*every):
            torch.mul(piece, silu(one), out=out_up)
            torch.ops.aten.silu_backward.grad_input(piece * other, one, grad_input=out)
        return of_gate, of_up


def _pieces(*every: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Slices of the same rows of each [N, ...]: on a processor as many as stay in the cache, elsewhere all at once."""
    rows = every[0]
    many = max(1, _PIECE * torch.get_num_threads() // rows.shape[-1]) if rows.device.type == "cpu" else len(rows)
    return zip(*(some.split(many) for some in every), strict=True)

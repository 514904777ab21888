"""Weights laid out once for products with few rows.

In a product of few rows a CPU spends as much time on bringing the weight into the order that its matrix units want as
on multiplying. That order depends on the weight alone: where weights stay the same for many products, as while
responses are sampled, it is made once. The products are the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def _can_pack(weight: Tensor) -> bool:
    """Whether this weight is of a kind, and this machine of one, that has such an order."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def _product(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    """rows [..., d] -> rows @ weight^T + bias [..., n] for a weight [n, d], whose values of now are copied."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    added = None if bias is None else bias.detach().clone()

    def multiply(rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, added, "none", [], "")
        return product

    return multiply


class PackedLinears:
    """The linear layers of a module and a head, with the weights that they have now, as much memory again.

    Without gradients. Where nothing is gained all stays as it is.
    """

    def __init__(self, module: nn.Module, head: Tensor) -> None:
        linears = [m for m in module.modules() if type(m) is nn.Linear and _can_pack(m.weight)]
        self._products = [(linear, _product(linear.weight, linear.bias)) for linear in linears]
        self.head: Callable[[Tensor], Tensor] = _product(head, None) if _can_pack(head) else lambda rows: rows @ head.T

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within this context the module's linear layers multiply with the packed weights."""
        for linear, product in self._products:
            linear.forward = product  # type: ignore[assignment,method-assign]
        try:
            yield
        finally:
            for linear, _ in self._products:
                del linear.forward

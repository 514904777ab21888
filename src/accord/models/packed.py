"""Weights laid out once for products with few rows.

In a product of few rows a CPU spends as much time on bringing the weight into the order that its matrix units want as
on multiplying. That order depends on the weight alone: where weights stay the same for many products, as while
responses are sampled, it is made once. Layers that are given the same rows (those of queries, keys and values; the two
that a gated MLP begins with) become one product. The numbers are the same but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

# Names that layers with the same input have in transformers' decoders.
_TOGETHER = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))

Product = Callable[[Tensor], Tensor]


def _can_pack(weight: Tensor) -> bool:
    """Whether this weight is of a kind, and this machine of one, that has such an order."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32


def _product(weight: Tensor, bias: Tensor | None) -> Product:
    """rows [..., d] -> rows @ weight^T + bias [..., n] for a weight [n, d], whose values of now are copied."""
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
    added = None if bias is None else bias.detach().clone()

    def multiply(rows: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, added, "none", [], "")
        return product

    return multiply


class _Joint:
    """The product of layers that are given the same rows: the first that is called multiplies for all."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self._multiply = _product(weight, torch.cat(biases) if biases else None)
        self._sizes = [linear.out_features for linear in linears]
        self._rows: Tensor | None = None
        self._left: dict[int, Tensor] = {}  # the products with these rows that nobody has taken yet, by layer

    def of(self, layer: int, rows: Tensor) -> Tensor:
        """rows [..., d] -> [..., n] of the layer."""
        if rows is not self._rows or layer not in self._left:
            self._rows = rows
            self._left = dict(enumerate(self._multiply(rows).split(self._sizes, dim=-1)))
        own = self._left.pop(layer)
        if not self._left:
            self._rows = None
        return own


class PackedLinears:
    """The linear layers of a module and a head, with the weights that they have now, as much memory again.

    Without gradients. Where nothing is gained all stays as it is.
    """

    def __init__(self, module: nn.Module, head: Tensor) -> None:
        self._products: list[tuple[nn.Linear, Product]] = []
        done: set[nn.Module] = set()
        for parent in module.modules():
            for names in _TOGETHER:
                some = [getattr(parent, name, None) for name in names]
                linears = [m for m in some if type(m) is nn.Linear and _can_pack(m.weight)]
                if len(linears) == len(names) and len({(m.in_features, m.bias is None) for m in linears}) == 1:
                    joint = _Joint(linears)
                    self._products += [(linear, partial(joint.of, i)) for i, linear in enumerate(linears)]
                    done.update(linears)
        alone = [m for m in module.modules() if type(m) is nn.Linear and _can_pack(m.weight) and m not in done]
        self._products += [(linear, _product(linear.weight, linear.bias)) for linear in alone]
        self.head: Product = _product(head, None) if _can_pack(head) else lambda rows: rows @ head.T

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

"""Activations that the backward pass computes again, layer by layer, where a forward pass would have kept them.

Of each layer its input is kept alone, and while its gradients are computed what is within it. Chen et al. 2016,
"Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174. The gradients are the same to the last bit.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from accord.models.adapters import switch_of
from accord.models.layers import backbone_of, layers_of


def recompute(module: nn.Module) -> None:
    """The layers of a decoder, from here on. Asked for again it changes nothing."""
    backbone = backbone_of(module)
    for layer in layers_of(module):
        if not isinstance(layer.forward, _Again):
            layer.forward = _Again(backbone, layer)


class _Again:
    """In the place of a layer's own forward pass."""

    def __init__(self, backbone: nn.Module, layer: nn.Module) -> None:
        self._backbone, self._layer, self._forward = backbone, layer, layer.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return self._forward(*args, **kwargs)
        return checkpoint(self._forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """Of the forward pass, and of the second one, which may come when another adapter is active and dropout off."""
        return nullcontext(), _AsNow(self._backbone, self._layer)


class _AsNow:
    """Within it, the adapter is active and the dropout on that are when it is made."""

    def __init__(self, backbone: nn.Module, layer: nn.Module) -> None:
        self._switch = switch_of(backbone)
        self._active = self._switch.active if self._switch else ()
        self._dropouts = [(one, one.training) for one in layer.modules() if isinstance(one, nn.Dropout)]
        self._after: list[bool] = []

    def __enter__(self) -> None:
        if self._switch:
            self._switch.to(*self._active)  # whoever computes next says which adapter it is
        self._after = [one.training for one, _ in self._dropouts]
        for one, training in self._dropouts:
            one.train(training)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for (one, _), training in zip(self._dropouts, self._after, strict=True):
            one.train(training)

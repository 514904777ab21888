"""Response trees on a GPU: FlexAttention (Dong et al. 2024, arXiv:2412.05496) with the tree's mask.

Blocks of places that no query sees are never computed, and the scores are never in memory, so that one kernel serves
all trees of a batch, whatever their lengths.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from accord.text.segments import PROMPT
from accord.text.tree import TreeBatch


class FlexTreeAttention:
    """A layout (`accord.models.attention.Layout`) for the batch's only row."""

    def __init__(self, batch: TreeBatch, device: torch.device) -> None:
        tree, branch = batch.tree_of_place.to(device), batch.branch_of_place.to(device)

        def visible(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            """As `Product.visible`, over all trees."""
            related = (branch[key] == PROMPT) | (branch[key] == branch[query])
            return (query >= key) & (tree[query] == tree[key]) & related

        places = len(batch.ids)
        self._mask = create_block_mask(visible, None, None, places, places, device=device)
        self._attend = _kernel(device.type)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query: [1, H, T, D]; key, value: [1, G, T, D]. Returns [1, H, T, D]."""
        out: Tensor = self._attend(
            query, key, value, block_mask=self._mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        return out


@functools.cache
def _kernel(device: str) -> Callable[..., Any]:
    """Compiled where there is a GPU: what runs without is the same in plain products, for tests."""
    plain: Callable[..., Any] = flex_attention
    return torch.compile(plain, dynamic=True) if device == "cuda" else plain

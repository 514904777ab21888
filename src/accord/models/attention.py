"""One attention function for every decoder, registered with transformers, that follows a layout.

A layout is passed as the keyword `layout` through the model's forward down to each attention layer. `TreeAttention`
computes whole response trees on a processor, `accord.models.flex` on a GPU; the sampler's cache is one more. The query
heads that share a key-value head are taken as rows of one product, which on a CPU is about twice as fast as the fused
kernel at these lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface, PretrainedConfig

from accord.errors import UserError
from accord.text.segments import Product
from accord.text.tree import TreeBatch

NAME = "accord"


class Layout(Protocol):
    """How queries meet keys. Called once a layer, layers in order."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query: [B, H, T, D]; key, value: [B, G, T, D] with G dividing H. Returns [B, H, T, D]."""
        ...


def tree_attention(batch: TreeBatch, device: torch.device, dtype: torch.dtype) -> Layout:
    """The layout of a batch: on a processor a product for segments of like sizes, on a GPU one kernel for all."""
    if device.type == "cpu":
        return TreeAttention(batch.products, dtype)
    from accord.models.flex import FlexTreeAttention  # torch's compiler comes with it

    return FlexTreeAttention(batch, device)


class TreeAttention:
    """Attention within trees that lie one after the other in the batch's only row: product by product."""

    def __init__(self, products: Sequence[Product], dtype: torch.dtype, device: torch.device | None = None) -> None:
        self._queries = _Places([one.queries for one in products], device)
        self._keys = _Places([one.keys for one in products], device)
        self._biases = [bias_of(one.visible.to(device), dtype)[:, None, None] for one in products]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query: [1, H, T, D]; key, value: [1, G, T, D]. Returns [1, H, T, D]."""
        taken = zip(
            self._queries.taken(query), self._keys.taken(key), self._keys.taken(value), self._biases, strict=True
        )
        return self._queries.put_back([grouped_attention(q, k, v, scaling, bias) for q, k, v, bias in taken])


class _Places:
    """Places [n, q] for each of some products, which together are all places of a batch, some of them repeated."""

    def __init__(self, places: Sequence[Tensor], device: torch.device | None) -> None:
        self._shapes = [some.shape for some in places]
        every = torch.cat([some.flatten() for some in places])
        _, first = np.unique(every.numpy(), return_index=True)
        self._places = [some.flatten().to(device) for some in places]
        self._first = torch.from_numpy(first).to(device)

    def taken(self, states: Tensor) -> list[Tensor]:
        """[n, H, q, D] for each product, of [1, H, T, D]. Taken at once, so that the gradient is one sum."""
        parts = _Taken.apply(states[0].transpose(0, 1), *self._places)
        return [part.unflatten(0, shape).transpose(1, 2) for part, shape in zip(parts, self._shapes, strict=True)]

    def put_back(self, found: Sequence[Tensor]) -> Tensor:
        """[1, H, T, D] of [n, H, q, D] for each product."""
        rows = torch.cat([some.transpose(1, 2).flatten(0, 1) for some in found])
        return rows.index_select(0, self._first)[None].transpose(1, 2)


class _Taken(torch.autograd.Function):
    """Rows by each index. The gradients of a row that is taken several times, as a prompt's keys are by its branches,
    are summed in fp32 at least."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *indices: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*indices)
        ctx.num_rows = len(rows)
        return tuple(rows.index_select(0, index) for index in indices)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first = gradients[0]
        precise = torch.promote_types(first.dtype, torch.float32)
        total = torch.zeros(ctx.num_rows, *first.shape[1:], dtype=precise, device=first.device)
        for index, gradient in zip(ctx.saved_tensors, gradients, strict=True):
            total.index_add_(0, index, gradient.to(precise).contiguous())
        return total.to(first.dtype), *(None for _ in gradients)


def bias_of(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: -inf where nothing is to be seen."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))


def grouped_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, bias: Tensor) -> Tensor:
    """softmax(query key^T * scaling + bias) value. The kernel of the softmax sums in fp32, whatever comes in.

    query: [B, H, T, D]; key, value: [B, G, L, D]; bias: broadcastable to [B, G, H / G, T, L]. Returns [B, H, T, D].
    """
    num_rows, num_heads, num_queries, width = query.shape
    num_groups, length = key.shape[1], key.shape[2]
    share = num_heads // num_groups
    rows = (query * scaling).reshape(num_rows, num_groups, share * num_queries, width)
    scores = (rows @ key.transpose(-1, -2)).view(num_rows, num_groups, share, num_queries, length).add_(bias)
    weights = torch.softmax(scores, dim=-1)
    out = weights.view(num_rows, num_groups, share * num_queries, length) @ value
    return out.view(num_rows, num_heads, num_queries, width)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which rows see the keys of which prompt. rows: [P, K], those of each prompt, filled up with row 0;
    prompt_of_row, place_of_row: [B], where a row is among these; bias: [P, M], of the prompts' keys."""

    rows: Tensor
    prompt_of_row: Tensor
    place_of_row: Tensor
    bias: Tensor

    @staticmethod
    def of(prompt_of_row: Tensor, bias: Tensor) -> Sharing:
        counts = torch.bincount(prompt_of_row, minlength=len(bias))
        order = torch.argsort(prompt_of_row, stable=True)
        every = torch.arange(len(prompt_of_row), device=order.device)
        place_of_row = torch.empty_like(order)
        place_of_row[order] = every - (counts.cumsum(0) - counts)[prompt_of_row[order]]
        rows = torch.zeros(len(bias), int(counts.max()), dtype=torch.int64, device=order.device)
        rows[prompt_of_row, place_of_row] = every
        return Sharing(rows, prompt_of_row, place_of_row, bias)

    def by_prompt(self, rows: Tensor) -> Tensor:
        """[P, G, K * share, N] of [B, G, share, N]."""
        return rows[self.rows].transpose(1, 2).flatten(2, 3)

    def by_row(self, prompts: Tensor, share: int) -> Tensor:
        """[B, G, share, N] of [P, G, K * share, N]."""
        num_prompts, num_groups, _, width = prompts.shape
        return prompts.view(num_prompts, num_groups, -1, share, width)[self.prompt_of_row, :, self.place_of_row]


def shared_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    bias: Tensor,
    prompt_key: Tensor,
    prompt_value: Tensor,
    sharing: Sharing,
) -> Tensor:
    """Of one token a row, to the keys of a prompt that several rows share, and to the row's own.

    query: [B, H, 1, D]; key, value: [B, G, L, D]; bias: [B, L]; prompt_key, prompt_value: [P, G, M, D]. Returns
    [B, H, 1, D]. A prompt's keys are read once for all its rows, whose queries are the rows of one product. What is
    found there is a mean over the prompt; to the rows come that and its weight against their own, not M scores each.
    """
    num_rows, num_heads, _, width = query.shape
    share = num_heads // key.shape[1]
    rows = (query * scaling).view(num_rows, key.shape[1], share, width)
    of_prompts = (sharing.by_prompt(rows) @ prompt_key.transpose(-1, -2)).add_(sharing.bias[:, None, None])
    from_prompts, level_of_prompts = (sharing.by_row(one, share) for one in _weighted(of_prompts, prompt_value))
    own, level = _weighted((rows @ key.transpose(-1, -2)).add_(bias[:, None, None]), value)
    weight = torch.sigmoid(level_of_prompts - level).to(own.dtype)
    return torch.lerp(own, from_prompts, weight).view(num_rows, num_heads, 1, width)


def _weighted(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of values [.., L, D] by the softmax of scores [.., n, L]; and the logarithm of the sum of these scores'
    exponentials [.., n, 1], in fp32 at least: the highest score less the logarithm of its weight."""
    precise = torch.promote_types(scores.dtype, torch.float32)
    weights = torch.softmax(scores, dim=-1)
    highest, its_weight = (one.amax(dim=-1, keepdim=True).to(precise) for one in (scores, weights))
    return weights @ values, highest - its_weight.log()


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    layout: Layout,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    out = layout.attend(module.layer_idx, query, key, value, scaling or query.shape[-1] ** -0.5)
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, _attention)


def refuse_unsupported(config: PretrainedConfig, where: str) -> None:
    """Layers that see only a window, or carry a state, do not follow a tree's mask."""
    text = config.get_text_config(decoder=True)  # of a model that also takes pictures, what decodes is a part
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    windowed = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    if kinds != {"full_attention"} or windowed or getattr(text, "attn_logit_softcapping", None):
        raise UserError(
            f"the architecture {config.model_type!r} has attention that does not follow a tree's mask",
            where=where,
            remedy="Use a decoder whose layers all have full attention, such as Llama, Qwen 2.5 or SmolLM.",
        )

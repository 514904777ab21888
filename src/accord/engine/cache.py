"""The sampler's key-value cache: an attention layout whose keys are what was computed before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from accord.models.attention import grouped_attention
from accord.models.folders import dtype_of


class SlotCache:
    """Keys and values of every layer for `num_slots` sequences of at most `length` tokens, allocated once.

    Slots in use are a prefix. A pass is announced first (`begin_prefill` or `begin_decode`), then each layer attends.
    """

    def __init__(self, module: PreTrainedModel, num_slots: int, length: int) -> None:
        config = module.config.get_text_config()
        num_heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
        groups = getattr(config, "num_key_value_heads", None) or num_heads
        self._dtype = dtype_of(module)
        # [layer, key or value, slot, group, place, width]
        self._store = torch.zeros(config.num_hidden_layers, 2, num_slots, groups, length, width, dtype=self._dtype)
        self._prefill: tuple[slice, Tensor] | None = None
        self._rows = torch.arange(num_slots)
        self._lengths = torch.zeros(0, dtype=torch.int64)
        self._bias = torch.zeros(0)
        self._used = 0

    def begin_prefill(self, slots: slice, row_of_slot: Tensor, width: int) -> None:
        """The next pass computes prompts of at most `width`; slot slots.start + i gets what row_of_slot[i] computes."""
        self._prefill = (slots, row_of_slot)
        self._used = max(self._used, width)

    def begin_decode(self, lengths: Tensor) -> None:
        """The next pass computes one token for each of the first len(lengths) slots, at the place `lengths`."""
        self._prefill = None
        self._lengths = lengths.clone()
        self._used = int(lengths.max()) + 1
        beyond = torch.arange(self._used)[None] > lengths[:, None]
        self._bias = torch.zeros(beyond.shape, dtype=self._dtype).masked_fill_(beyond, float("-inf"))[
            :, None, None, None
        ]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Stores this pass's keys and values and attends to all that the slot holds."""
        keys, values = self._store[layer]
        if self._prefill is not None:
            slots, row_of_slot = self._prefill
            width = key.shape[2]
            keys[slots, :, :width] = key[row_of_slot]
            values[slots, :, :width] = value[row_of_slot]
            later = torch.ones(width, width, dtype=torch.bool).triu(1)
            bias = torch.zeros(width, width, dtype=key.dtype).masked_fill_(later, float("-inf"))
            return grouped_attention(query, key, value, scaling, bias)
        rows = self._rows[: len(self._lengths)]
        keys[rows, :, self._lengths] = key[:, :, 0]
        values[rows, :, self._lengths] = value[:, :, 0]
        num = len(rows)
        return grouped_attention(query, keys[:num, :, : self._used], values[:num, :, : self._used], scaling, self._bias)

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copies slots, when a finished one is replaced by one from the end."""
        if sources:
            self._store[:, :, list(targets), :, : self._used] = self._store[:, :, list(sources), :, : self._used]

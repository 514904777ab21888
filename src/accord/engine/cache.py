"""The sampler's key-value cache: an attention layout whose keys are what was computed before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from accord.models.attention import grouped_attention
from accord.models.compute import device_of, dtype_of
from accord.models.cost import cache_places


class SlotCache:
    """Keys and values of every layer for `num_slots` sequences.

    Slots in use are a prefix. A pass is announced first (`begin_prefill` or `begin_decode`), then each layer attends.
    Attention looks at all places that there are, used or not: a part of each slot would have to be copied for the
    product. So there are no more places than what is being written needs, in whole blocks.
    """

    def __init__(self, module: PreTrainedModel, num_slots: int) -> None:
        config = module.config.get_text_config()
        num_heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
        groups = getattr(config, "num_key_value_heads", None) or num_heads
        self._dtype, self._device = dtype_of(module), device_of(module)
        # a layer: [key or value, slot, group, place, width]
        self._layers = [
            torch.zeros(2, num_slots, groups, 0, width, dtype=self._dtype, device=self._device)
            for _ in range(config.num_hidden_layers)
        ]
        self._prefill: tuple[slice, Tensor] | None = None
        self._rows = torch.arange(num_slots, device=self._device)
        self._lengths = torch.zeros(0, dtype=torch.int64)
        self._bias = torch.zeros(0)

    def _reserve(self, places: int) -> None:
        """Makes room, and keeps what is there. Places that were never written hold zeros: what is masked is finite."""
        present = self._layers[0].shape[3]
        if places > present:
            missing = cache_places(places) - present
            for i, layer in enumerate(self._layers):
                self._layers[i] = functional.pad(layer, (0, 0, 0, missing))

    def begin_prefill(self, slots: slice, row_of_slot: Tensor, width: int) -> None:
        """The next pass computes prompts of at most `width`; slot slots.start + i gets what row_of_slot[i] computes."""
        self._prefill = (slots, row_of_slot.to(self._device))
        self._reserve(width)

    def begin_decode(self, lengths: Tensor) -> None:
        """The next pass computes one token for each of the first len(lengths) slots, at the place `lengths`."""
        self._prefill = None
        self._reserve(int(lengths.max()) + 1)
        self._lengths = lengths.to(self._device, copy=True)
        beyond = torch.arange(self._layers[0].shape[3], device=self._device)[None] > self._lengths[:, None]
        self._bias = _bias(beyond, self._dtype)[:, None, None, None]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Stores this pass's keys and values and attends to all that the slot holds."""
        keys, values = self._layers[layer]
        if self._prefill is not None:
            slots, row_of_slot = self._prefill
            width = key.shape[2]
            keys[slots, :, :width] = key[row_of_slot]
            values[slots, :, :width] = value[row_of_slot]
            later = torch.ones(width, width, dtype=torch.bool, device=key.device).triu(1)
            return grouped_attention(query, key, value, scaling, _bias(later, key.dtype))
        rows = self._rows[: len(self._lengths)]
        keys[rows, :, self._lengths] = key[:, :, 0]
        values[rows, :, self._lengths] = value[:, :, 0]
        num = len(rows)
        return grouped_attention(query, keys[:num], values[:num], scaling, self._bias)

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copies slots, when a finished one is replaced by one from the end."""
        if sources:
            for layer in self._layers:
                layer[:, list(targets)] = layer[:, list(sources)]


def _bias(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores: -inf where `hidden`."""
    return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))

"""The sampler's key-value cache: an attention layout whose keys are what was computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from accord.models.attention import TreeAttention, bias_of, grouped_attention
from accord.models.compute import device_of, dtype_of
from accord.models.cost import cache_places
from accord.text.prompts import PromptBatch


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
        self._prefill: _Prefill | None = None
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

    def begin_prefill(self, batch: PromptBatch, slots: slice, prompt_of_slot: Sequence[int]) -> None:
        """The next pass computes prompts; slot slots.start + i gets those of the prompt prompt_of_slot[i]."""
        lengths = torch.tensor([batch.lengths[i] for i in prompt_of_slot])
        self._reserve(int(lengths.max()))
        slot_of_token = torch.arange(slots.start, slots.stop).repeat_interleave(lengths)
        place_of_token = batch.positions[(places := batch.token_places(prompt_of_slot))]
        self._prefill = _Prefill(
            TreeAttention(batch.groups, self._dtype, self._device),
            *(index.to(self._device) for index in (slot_of_token, place_of_token, places)),
        )

    def begin_decode(self, lengths: Tensor) -> None:
        """The next pass computes one token for each of the first len(lengths) slots, at the place `lengths`."""
        self._prefill = None
        self._reserve(int(lengths.max()) + 1)
        self._lengths = lengths.to(self._device, copy=True)
        visible = torch.arange(self._layers[0].shape[3], device=self._device)[None] <= self._lengths[:, None]
        self._bias = bias_of(visible, self._dtype)[:, None, None, None]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Stores this pass's keys and values and attends to all that the slot holds."""
        keys, values = self._layers[layer]
        if (prefill := self._prefill) is not None:
            for stored, computed in ((keys, key), (values, value)):
                stored[prefill.slots, :, prefill.places] = computed[0].transpose(0, 1)[prefill.tokens]
            return prefill.layout.attend(layer, query, key, value, scaling)
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


@dataclass(frozen=True, slots=True)
class _Prefill:
    """How prompts attend, and what is kept of each: slots, places, tokens: [n], the place of the cache that gets the
    keys and values of a place of the batch."""

    layout: TreeAttention
    slots: Tensor
    places: Tensor
    tokens: Tensor

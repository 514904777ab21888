"""The sampler's key-value cache: an attention layout whose keys are what was computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from accord.engine.blocks import are_better_as_one, blocks_of, places_for
from accord.models.attention import Layout, TreeAttention, bias_of, grouped_attention
from accord.models.compute import device_of, dtype_of
from accord.text.prompts import PromptBatch


class SlotCache:
    """Keys and values of every layer for the sequences that are being written, its rows.

    Attention looks at all places that a block of rows has, used or not: a part of each row's would have to be copied
    for the product. So rows of like lengths share a block, which has no more places than the longest of them needs, in
    multiples of 32. A pass is announced first (`begin_prefill` or `begin_decode`), then each layer attends.
    """

    def __init__(self, module: PreTrainedModel) -> None:
        config = module.config.get_text_config()
        num_heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
        groups = getattr(config, "num_key_value_heads", None) or num_heads
        self._dtype, self._device = dtype_of(module), device_of(module)
        self._num_layers, self._groups, self._width = config.num_hidden_layers, groups, width
        self._blocks: list[_Block] = []
        self._parts: list[_Part] = []
        self._biases: list[Tensor] = []  # in a pass of one token a row, who sees what in each part
        self._prompts: Layout | None = None

    def begin_prefill(self, batch: PromptBatch, prompt_of_row: Sequence[int]) -> None:
        """The next pass computes prompts. A row is added for each of prompt_of_row, which begins with that prompt; give
        rows in the order of their prompts' lengths."""
        self._prompts, self._parts = TreeAttention(batch.groups, self._dtype, self._device), []
        first = 0
        for size in blocks_of([batch.lengths[i] for i in prompt_of_row], self._groups * self._width):
            prompts = prompt_of_row[first : first + size]
            lengths = torch.tensor([batch.lengths[i] for i in prompts])
            block = self._new_block(size, places_for(int(lengths.max())))
            tokens = batch.token_places(prompts)
            index = block.index(torch.arange(size).repeat_interleave(lengths), batch.positions[tokens])
            self._blocks.append(block)
            self._parts.append(_Part(block, tokens.to(self._device), index.to(self._device)))
            first += size

    def begin_decode(self, lengths: Tensor) -> None:
        """The next pass computes one token a row, at the place `lengths` [rows] of its sequence."""
        self._prompts, self._parts, self._biases = None, [], []
        self._merge()
        first = 0
        for block in self._blocks:
            rows = slice(first, first + block.num_rows)
            own = lengths[rows]
            block.reserve(places_for(int(own.max()) + 1))
            index = block.index(torch.arange(block.num_rows), own).to(self._device)
            visible = torch.arange(block.num_places)[None] <= own[:, None]
            self._biases.append(bias_of(visible.to(self._device), self._dtype)[:, None, None, None])
            self._parts.append(_Part(block, rows, index))
            first = rows.stop

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Stores this pass's keys and values and attends to all that the row holds."""
        # [rows * tokens, group, width]
        keys, values = (states.transpose(1, 2).flatten(0, 1) for states in (key, value))
        for part in self._parts:
            computed = torch.stack((keys[part.tokens], values[part.tokens]))
            part.block.layers[layer].view(-1, self._width).index_copy_(0, part.index, computed.flatten(0, 2))
        if self._prompts is not None:
            return self._prompts.attend(layer, query, key, value, scaling)
        found = []
        for part, bias in zip(self._parts, self._biases, strict=True):
            stored_keys, stored_values = part.block.layers[layer][:, : part.block.num_rows]
            found.append(grouped_attention(query[part.tokens], stored_keys, stored_values, scaling, bias))
        return found[0] if len(found) == 1 else torch.cat(found)

    def release(self, over: Sequence[bool]) -> list[int]:
        """Takes out the rows that are over. What row i is from now on was row result[i] before."""
        order, first = [], 0
        for block in self._blocks:
            num = block.num_rows
            order += [first + row for row in block.release(over[first : first + num])]
            first += num
        self._blocks = [block for block in self._blocks if block.num_rows]
        return order

    def _new_block(self, num_rows: int, num_places: int) -> _Block:
        size = (2, num_rows, self._groups, num_places, self._width)
        empty = [torch.zeros(size, dtype=self._dtype, device=self._device) for _ in range(self._num_layers)]
        return _Block(empty, num_rows)

    def _merge(self) -> None:
        """Makes one of neighbours that have become so small that two cost more."""
        merged: list[_Block] = []
        for block in self._blocks:
            if merged and are_better_as_one(merged[-1], block, self._groups * self._width):
                merged[-1] = _Block.joined(merged[-1], block)
            else:
                merged.append(block)
        self._blocks = merged


class _Block:
    """layers: of each [key or value, row, group, place, width]; the first `num_rows` are in use. Places that were never
    written hold zeros: what is masked is finite."""

    def __init__(self, layers: list[Tensor], num_rows: int) -> None:
        self.layers, self.num_rows = layers, num_rows

    @property
    def num_places(self) -> int:
        return self.layers[0].shape[3]

    def index(self, rows: Tensor, places: Tensor) -> Tensor:
        """[2 * n * groups]: where, among all vectors of a layer, key and value of rows [n] at places [n] are."""
        _, num_rows, num_groups, num_places, _ = self.layers[0].shape
        sides, groups = torch.arange(2)[:, None, None], torch.arange(num_groups)
        return (((sides * num_rows + rows[:, None]) * num_groups + groups) * num_places + places[:, None]).flatten()

    def reserve(self, num_places: int) -> None:
        if num_places > self.num_places:
            missing = num_places - self.num_places
            for i, layer in enumerate(self.layers):
                self.layers[i] = functional.pad(layer, (0, 0, 0, missing))

    @staticmethod
    def joined(first: _Block, second: _Block) -> _Block:
        """The rows of both, which are emptied layer by layer, so that there is never a second copy of all."""
        num_rows, num_places = first.num_rows + second.num_rows, max(first.num_places, second.num_places)
        layers = []
        for i in range(len(first.layers)):
            one, other = first.layers[i], second.layers[i]
            _, _, num_groups, _, width = one.shape
            whole = one.new_zeros(2, num_rows, num_groups, num_places, width)
            whole[:, : first.num_rows, :, : one.shape[3]] = one[:, : first.num_rows]
            whole[:, first.num_rows :, :, : other.shape[3]] = other[:, : second.num_rows]
            first.layers[i] = second.layers[i] = one[:0]
            layers.append(whole)
        return _Block(layers, num_rows)

    def release(self, over: Sequence[bool]) -> list[int]:
        """The last rows move into the places of those that are over. Row i was row result[i]."""
        num_left = over.count(False)
        holes = [row for row in range(num_left) if over[row]]
        movers = [row for row in range(num_left, len(over)) if not over[row]]
        if holes:
            for layer in self.layers:
                layer[:, holes] = layer[:, movers]
        self.num_rows = num_left
        mover_of = dict(zip(holes, movers, strict=True))
        return [mover_of.get(row, row) for row in range(num_left)]


@dataclass(frozen=True, slots=True)
class _Part:
    """What a pass brings to a block. tokens: those of the pass whose keys and values it gets; index: where to."""

    block: _Block
    tokens: Tensor | slice
    index: Tensor

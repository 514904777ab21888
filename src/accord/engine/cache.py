"""The sampler's key-value cache: an attention layout whose keys are what was computed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from accord.engine.blocks import are_better_shared, blocks_of, merged, places_for
from accord.engine.vectors import Size, Vectors
from accord.models.attention import Layout, Sharing, TreeAttention, bias_of, grouped_attention, shared_attention
from accord.models.compute import device_of, dtype_of
from accord.text.prompts import PromptBatch


class SlotCache:
    """Keys and values of every layer for the sequences that are being written, its rows.

    Attention looks at all places that a block of rows has, used or not: a part of each row's would have to be copied
    for the product. So rows of like lengths share a block, which has no more places than the longest of them needs, in
    multiples of 32 (`accord.engine.blocks`). A pass is announced first (`begin_prefill`, `begin_piece` or
    `begin_decode`), then each layer attends.
    """

    def __init__(self, module: PreTrainedModel) -> None:
        config = module.config.get_text_config()
        num_heads = config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // num_heads
        groups = getattr(config, "num_key_value_heads", None) or num_heads
        self._size = Size(config.num_hidden_layers, groups, width, dtype_of(module), device_of(module))
        self._numbers = groups * width  # of a place's keys
        self._blocks: list[_Block] = []
        self._prompts: Layout | None = None  # how prompts attend, in their pass
        self._parts: list[_Part] = []
        self._steps: list[_Step] = []  # in a pass of one token a row, a block each

    def begin_prefill(self, batch: PromptBatch, prompt_of_row: Sequence[int]) -> None:
        """The next pass computes prompts. A row is added for each of prompt_of_row, which begins with that prompt; give
        prompts in the order of their lengths, and rows in that of their prompts."""
        self._prompts, self._parts = TreeAttention(batch.products, self._size.dtype, self._size.device), []
        if are_better_shared(batch.lengths, len(prompt_of_row), self._numbers):
            prompts = self._filled(batch, range(len(batch.lengths)))
            own = Vectors.empty(self._size, len(prompt_of_row), 0)
            shared = _Prompts(prompts, torch.tensor(batch.lengths), torch.tensor(list(prompt_of_row)))
            self._blocks.append(_Block(own, len(prompt_of_row), shared))
            return
        first = 0
        for num in blocks_of([batch.lengths[i] for i in prompt_of_row], self._numbers):
            self._blocks.append(_Block(self._filled(batch, prompt_of_row[first : first + num]), num))
            first += num

    def new_prompt(self, num_tokens: int) -> Vectors:
        """Room for a prompt that is read in pieces, before it is any row's."""
        return Vectors.empty(self._size, 1, places_for(num_tokens))

    def begin_piece(self, prompt: Vectors, start: int, end: int) -> None:
        """The next pass computes the tokens of one prompt from `start` up to `end`, which see those before them."""
        places = torch.arange(start, end)
        index = prompt.index(torch.zeros_like(places), places)
        self._parts = [_Part(prompt, index, slice(None))]
        earlier = (torch.arange(end) <= places[:, None]).to(self._size.device)
        self._prompts = _Piece(prompt, bias_of(earlier, self._size.dtype))

    def add_prompt(self, prompt: Vectors, num_tokens: int, num_rows: int) -> None:
        """Adds rows that begin with a prompt all of which has been read in pieces."""
        if are_better_shared([num_tokens], num_rows, self._numbers):
            every = torch.zeros(num_rows, dtype=torch.int64)
            shared = _Prompts(prompt, torch.tensor([num_tokens]), every)
            self._blocks.append(_Block(Vectors.empty(self._size, num_rows, 0), num_rows, shared))
        else:
            self._blocks.append(_Block(prompt.repeated(num_rows), num_rows))

    def _filled(self, batch: PromptBatch, prompts: Sequence[int]) -> Vectors:
        """Rows that get these prompts in the pass that is announced."""
        lengths = torch.tensor([batch.lengths[i] for i in prompts])
        vectors = Vectors.empty(self._size, len(prompts), places_for(int(lengths.max())))
        tokens = batch.token_places(prompts)
        index = vectors.index(torch.arange(len(prompts)).repeat_interleave(lengths), batch.positions[tokens])
        self._parts.append(_Part(vectors, index, tokens.to(self._size.device)))
        return vectors

    def begin_decode(self, lengths: Tensor) -> None:
        """The next pass computes one token a row, at the place `lengths` [rows] of its sequence."""
        self._prompts, self._parts, self._steps = None, [], []
        self._blocks = merged(self._blocks, _Block.joined, self._numbers)
        first = 0
        for block in self._blocks:
            rows = slice(first, first + block.num_rows)
            places = lengths[rows] - (block.shared.lengths_of_rows if block.shared else 0)
            block.own.reserve(places_for(int(places.max()) + 1))
            index = block.own.index(torch.arange(block.num_rows), places)
            self._parts.append(_Part(block.own, index, rows))
            sharing = self._sharing(block.shared) if block.shared else None
            self._steps.append(_Step(block, rows, self._bias(places + 1, block.num_places), sharing))
            first = rows.stop

    def _sharing(self, prompts: _Prompts) -> Sharing:
        bias = self._bias(prompts.lengths, prompts.vectors.num_places)
        return Sharing.of(prompts.prompt_of_row.to(self._size.device), bias)

    def _bias(self, lengths: Tensor, num_places: int) -> Tensor:
        """[n, places]: of sequences of these lengths, all is seen."""
        visible = torch.arange(num_places) < lengths[:, None]
        return bias_of(visible.to(self._size.device), self._size.dtype)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Stores this pass's keys and values and attends to all that the row holds."""
        keys, values = (states.transpose(1, 2).flatten(0, 1) for states in (key, value))  # [tokens, group, width]
        for part in self._parts:
            part.vectors.write(layer, part.index, keys[part.tokens], values[part.tokens])
        if self._prompts is not None:
            return self._prompts.attend(layer, query, key, value, scaling)
        found = [step.attend(layer, query, scaling) for step in self._steps]
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


@dataclass(frozen=True, slots=True)
class _Piece:
    """How some tokens of a prompt attend to its places up to themselves. bias: [tokens, places]."""

    prompt: Vectors
    bias: Tensor

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """As `Layout` has it; of one row. Key and value stand in the prompt's places already."""
        keys, values = self.prompt.layers[layer][..., : self.bias.shape[1], :]
        return grouped_attention(query, keys, values, scaling, self.bias)


@dataclass(slots=True)
class _Prompts:
    """That rows of a block share. lengths: [prompts]; prompt_of_row: [rows]."""

    vectors: Vectors
    lengths: Tensor
    prompt_of_row: Tensor

    @property
    def lengths_of_rows(self) -> Tensor:
        return self.lengths[self.prompt_of_row]

    @staticmethod
    def joined(first: _Prompts, second: _Prompts) -> _Prompts:
        """Those of both that a row has left."""
        ours, our_places = first.prompt_of_row.unique(return_inverse=True)
        theirs, their_places = second.prompt_of_row.unique(return_inverse=True)
        vectors = Vectors.joined(first.vectors, ours.tolist(), second.vectors, theirs.tolist())
        lengths = torch.cat([first.lengths[ours], second.lengths[theirs]])
        return _Prompts(vectors, lengths, torch.cat([our_places, their_places + len(ours)]))


@dataclass(slots=True)
class _Block:
    """The first `num_rows` of `own` are in use. They hold a whole sequence, or what follows a prompt that is shared."""

    own: Vectors
    num_rows: int
    shared: _Prompts | None = None

    @property
    def num_places(self) -> int:
        return self.own.num_places

    @property
    def num_prompts(self) -> int:
        return len(self.shared.lengths) if self.shared else 0

    @property
    def prompt_places(self) -> int:
        return self.shared.vectors.num_places if self.shared else 0

    @staticmethod
    def joined(first: _Block, second: _Block) -> _Block:
        own = Vectors.joined(first.own, range(first.num_rows), second.own, range(second.num_rows))
        shared = _Prompts.joined(first.shared, second.shared) if first.shared and second.shared else None
        return _Block(own, first.num_rows + second.num_rows, shared)

    def release(self, over: Sequence[bool]) -> list[int]:
        """The last rows move into the places of those that are over. Row i was row result[i]."""
        num_left = over.count(False)
        holes = [row for row in range(num_left) if over[row]]
        movers = [row for row in range(num_left, len(over)) if not over[row]]
        self.own.move(movers, holes)
        self.num_rows = num_left
        mover_of = dict(zip(holes, movers, strict=True))
        order = [mover_of.get(row, row) for row in range(num_left)]
        if self.shared:
            self.shared.prompt_of_row = self.shared.prompt_of_row[order]
        return order


@dataclass(frozen=True, slots=True)
class _Part:
    """What a pass brings: keys and values of some of its tokens, which go where `index` says."""

    vectors: Vectors
    index: Tensor
    tokens: Tensor | slice


@dataclass(frozen=True, slots=True)
class _Step:
    """How the rows of a block attend. bias: [rows, places]."""

    block: _Block
    rows: slice
    bias: Tensor
    sharing: Sharing | None

    def attend(self, layer: int, query: Tensor, scaling: float) -> Tensor:
        """query: [all rows, H, 1, D]. Returns [rows, H, 1, D]."""
        keys, values = self.block.own.layers[layer][:, : self.block.num_rows]
        own = query[self.rows]
        if self.block.shared is None or self.sharing is None:
            return grouped_attention(own, keys, values, scaling, self.bias[:, None, None, None])
        of_prompts = self.block.shared.vectors.layers[layer]
        return shared_attention(own, keys, values, scaling, self.bias, of_prompts[0], of_prompts[1], self.sharing)

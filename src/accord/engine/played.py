"""How the sampler will fill and free its slots and its cache, played through without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accord.engine.blocks import are_better_shared, blocks_of, merged, places_for
from accord.text.tree import Tree

Numbers = NDArray[np.int64]


class PlayedCache:
    """As `accord.engine.cache.SlotCache` is used by a sampler whose responses have given lengths."""

    def __init__(self, numbers: int) -> None:
        self._numbers, self._blocks = numbers, list[_Block]()
        self.most_places = 0

    @property
    def num_rows(self) -> int:
        return sum(block.num_rows for block in self._blocks)

    def begin_prefill(self, trees: Sequence[Tree]) -> None:
        """Adds a row for each branch. Its first token is drawn in the same pass."""
        prompts = [len(tree.prompt_ids) for tree in trees]
        prompt_of_row = np.repeat(np.arange(len(trees)), [len(tree.branches) for tree in trees])
        lengths = np.array(prompts)[prompt_of_row]
        left = np.array([len(branch.ids) - 1 for tree in trees for branch in tree.branches])
        if are_better_shared(prompts, len(left), self._numbers):
            shared = _Prompts(len(trees), places_for(max(prompts)), prompt_of_row)
            self._blocks.append(_Block(np.zeros_like(left), left, 0, len(left), shared))
        else:
            first = 0
            for num in blocks_of(lengths.tolist(), self._numbers):
                own = slice(first, first + num)
                self._blocks.append(_Block(lengths[own], left[own], places_for(int(lengths[own].max())), num))
                first += num
        self._count()

    def begin_decode(self) -> float:
        """The places that attention reads, in the mean of the rows."""
        self._blocks = merged(self._blocks, _Block.joined, self._numbers)
        for block in self._blocks:
            block.num_places = max(block.num_places, places_for(int(block.lengths.max()) + 1))
        self._count()
        return sum(block.places(block.num_rows) for block in self._blocks) / self.num_rows

    def advance(self) -> None:
        """Every row has a token more."""
        for block in self._blocks:
            block.lengths, block.left = block.lengths + 1, block.left - 1

    def release(self) -> None:
        """Takes out the rows that have all their tokens."""
        for block in self._blocks:
            rows = block.left > 0
            block.lengths, block.left = block.lengths[rows], block.left[rows]
            if block.shared:
                block.shared.prompt_of_row = block.shared.prompt_of_row[rows]
        self._blocks = [block for block in self._blocks if block.num_rows]

    def _count(self) -> None:
        self.most_places = max(self.most_places, sum(block.places(block.num_made) for block in self._blocks))


@dataclass(slots=True)
class _Prompts:
    num: int
    num_places: int
    prompt_of_row: Numbers


@dataclass(slots=True)
class _Block:
    """lengths, left: tokens that each row has of its own, and tokens still to come; num_made: rows that there is memory
    for."""

    lengths: Numbers
    left: Numbers
    num_places: int
    num_made: int
    shared: _Prompts | None = None

    @property
    def num_rows(self) -> int:
        return len(self.left)

    @property
    def num_prompts(self) -> int:
        return self.shared.num if self.shared else 0

    @property
    def prompt_places(self) -> int:
        return self.shared.num_places if self.shared else 0

    def places(self, num_rows: int) -> int:
        """Of so many rows and of the prompts that they share."""
        return num_rows * self.num_places + self.num_prompts * self.prompt_places

    @staticmethod
    def joined(first: _Block, second: _Block) -> _Block:
        lengths, left = (np.concatenate(both) for both in ((first.lengths, second.lengths), (first.left, second.left)))
        shared = None
        if first.shared and second.shared:
            ours, our_places = np.unique(first.shared.prompt_of_row, return_inverse=True)
            theirs, their_places = np.unique(second.shared.prompt_of_row, return_inverse=True)
            prompt_of_row = np.concatenate([our_places, their_places + len(ours)])
            most = max(first.prompt_places, second.prompt_places)
            shared = _Prompts(len(ours) + len(theirs), most, prompt_of_row)
        return _Block(lengths, left, max(first.num_places, second.num_places), len(left), shared)

"""Prompts alone as tensors, for the pass that comes before their responses are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from accord.text.segments import PROMPT, Product, Segment, mean_width, product_of, segments_of, together


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts one after the other, the shortest first, laid out as trees without branches are (`TreeBatch`).

    ids, positions: [T] int64. starts, lengths: of the prompts as they were given, the place of the first token of each
    and how many there are.

    Example: prompts `a b c d e f` and `g h` lie as `g h a b c d e f`: starts 2, 0.
    """

    ids: Tensor
    positions: Tensor
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @staticmethod
    def of(prompts: Sequence[tuple[int, ...]]) -> PromptBatch:
        assert all(prompts), "a response needs a prompt token to follow"
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        lengths = [len(prompts[i]) for i in order]
        ids = torch.tensor([token for i in order for token in prompts[i]])
        positions = torch.cat([torch.arange(num) for num in lengths])
        first = dict(zip(order, accumulate(lengths, initial=0), strict=False))
        starts = tuple(first[i] for i in range(len(prompts)))
        return PromptBatch(ids, positions, starts, tuple(map(len, prompts)))

    @property
    def products(self) -> tuple[Product, ...]:
        """Who sees whom, as attention is computed. Made anew whenever it is asked for."""
        return tuple(product_of(some, np.full(len(self.ids), PROMPT)) for some in together(self._segments))

    @property
    def mean_width(self) -> float:
        """The mean over places of how many keys attention computes for each."""
        return mean_width(self._segments)

    @property
    def _segments(self) -> list[Segment]:
        prompts = zip(self.starts, self.lengths, strict=True)
        return [one for start, num in prompts for one in segments_of(start, num, ())]

    def token_places(self, prompts: Sequence[int]) -> Tensor:
        """The places of all tokens of some prompts, in that order."""
        return torch.cat([torch.arange(self.lengths[i]) + self.starts[i] for i in prompts])

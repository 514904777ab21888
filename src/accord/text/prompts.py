"""Prompts alone as tensors, for the pass that comes before their responses are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from accord.text.tree import TreeGroup, places_of


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Prompts one after the other, the shortest first, laid out as trees without branches are (`TreeBatch`).

    ids, positions: [T] int64. groups: who sees whom. starts, lengths: of the prompts as they were given, the place of
    the first token of each and how many there are.

    Example: prompts `a b c d e f` and `g h` lie as `g h - - a b c d e f - -` (places are multiples of 4): starts 4, 0.
    """

    ids: Tensor
    positions: Tensor
    groups: tuple[TreeGroup, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @staticmethod
    def of(prompts: Sequence[tuple[int, ...]], pad_id: int) -> PromptBatch:
        assert all(prompts), "a response needs a prompt token to follow"
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
        places = [places_of(len(prompts[i])) for i in order]
        ids = torch.full((sum(places),), pad_id)
        positions = torch.zeros_like(ids)
        starts, at = [0] * len(prompts), 0
        for i, own in zip(order, places, strict=True):
            num = len(prompts[i])
            ids[at : at + num] = torch.tensor(prompts[i])
            positions[at : at + num] = torch.arange(num)
            starts[i] = at
            at += own
        return PromptBatch(ids, positions, _groups(places), tuple(starts), tuple(map(len, prompts)))

    def token_places(self, prompts: Sequence[int]) -> Tensor:
        """The places of all tokens of some prompts, in that order."""
        return torch.cat([torch.arange(self.lengths[i]) + self.starts[i] for i in prompts])


def _groups(places: Sequence[int]) -> tuple[TreeGroup, ...]:
    found, start = [], 0
    for length, same in groupby(places):
        num = len(list(same))
        earlier = torch.ones(length, length, dtype=torch.bool).tril()
        found.append(TreeGroup(start, earlier.expand(num, length, length)))
        start += num * length
    return tuple(found)

"""Which places meet in attention: trees cut into segments, and like segments computed in one product.

A mask over a whole tree computes a score for each pair of its places, most of them between branches that see nothing of
each other. So a tree is cut: the prompt sees itself, and a branch the prompt and itself. Queries and keys of prompt
`p0 p1 p2` and responses `a0 a1`, `b0 b1 b2`:

    p0 p1 p2   see   p0 p1 p2
       a0 a1   see   p0 p1 p2 a0 a1
    b0 b1 b2   see   p0 p1 p2 b0 b1 b2

That is 9 + 10 + 18 scores for 64. What is long is cut once more, so that its first queries meet no keys that come after
them. A segment takes a copy of its keys along, so short branches of a long prompt share one, with a mask between them,
and a tree where cutting saves little stays whole. Of a few ways to cut a tree the cheapest is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

PROMPT: Final = -1  # the branch of a prompt's places
_BLOCK: Final = 256  # queries of a segment at most
_RUNS: Final = (0, 32, 64, 128, 256)  # tokens that branches of one segment have together; longer ones have one each
_SEGMENT: Final = 2_000  # scores that take as long as one segment more
_KEY: Final = 16  # and one key more, copied
_PRODUCT: Final = 4_000  # and one product more


class Segment(NamedTuple):
    """The places from `start` to `end`, which see those from `prompt` to `prompt_end`, and then those from `own` to
    `end`, as far as the tree allows it."""

    start: int
    end: int
    own: int
    prompt: int = 0
    prompt_end: int = 0

    @property
    def num_queries(self) -> int:
        return self.end - self.start

    @property
    def num_keys(self) -> int:
        return self.end - self.own + self.prompt_end - self.prompt


@dataclass(frozen=True, slots=True)
class Product:
    """Segments whose attention is computed together.

    queries: [n, q] int64, keys: [n, k] int64, places of the batch; a shorter segment's last place stands for those that
    it lacks. visible: [n, q, k] bool, which keys a query sees; each sees one at least.
    """

    queries: Tensor
    keys: Tensor
    visible: Tensor


def segments_of(start: int, num_prompt: int, branches: Sequence[int]) -> list[Segment]:
    """Of a tree that begins at the place `start`: tokens of its prompt and of each branch."""
    prompt_end = start + num_prompt
    ends = list(accumulate(branches, initial=prompt_end))
    whole, prompt = list(_blocks(start, ends[-1])), list(_blocks(start, prompt_end))
    cut = (
        prompt + [one for first, last in _runs(ends, most) for one in _blocks(first, last, start, prompt_end)]
        for most in _RUNS
    )
    return min(whole, *cut, key=_cost)


def _runs(ends: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Neighbouring branches of at most so many tokens together. ends: of each branch, after where the first starts."""
    first = ends[0]
    for last, next_ in pairwise([*ends[1:], ends[-1] + most + 1]):
        if next_ - first > most:
            yield first, last
            first = last


def _blocks(start: int, end: int, *prompt: int) -> Iterator[Segment]:
    num = -(-(end - start) // _BLOCK)
    edges = [start + (end - start) * i // num for i in range(num + 1)]
    return (Segment(first, last, start, *prompt) for first, last in pairwise(edges))


def _cost(segments: Sequence[Segment]) -> int:
    return sum(_SEGMENT + (_KEY + one.num_queries) * one.num_keys for one in segments)


def together(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Segments of like sizes, as long as filling them up to the largest costs less than a product of their own."""
    found: list[list[Segment]] = []
    for one in sorted(segments, key=lambda one: (one.num_queries, one.num_keys)):
        added = num_scores([*found[-1], one]) - num_scores(found[-1]) if found else 0
        if found and added - num_scores([one]) <= _PRODUCT:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def mean_width(segments: Sequence[Segment]) -> float:
    """The mean over places of how many keys attention computes for each."""
    return sum(map(num_scores, together(segments))) / sum(one.num_queries for one in segments)


def mean_keys(segments: Sequence[Segment]) -> float:
    """The mean over places of how many keys are copied for attention."""
    products = together(segments)
    copied = sum(len(product) * max(one.num_keys for one in product) for product in products)
    return copied / sum(one.num_queries for one in segments)


def num_scores(product: Sequence[Segment]) -> int:
    """How many scores the product of these segments computes, masked ones too."""
    return len(product) * max(one.num_queries for one in product) * max(one.num_keys for one in product)


def product_of(segments: Sequence[Segment], branch_of_place: np.ndarray) -> Product:
    """branch_of_place: [T], where a place of a prompt has the branch PROMPT."""
    num_queries, num_keys = (max(sizes) for sizes in zip(*((s.num_queries, s.num_keys) for s in segments), strict=True))
    queries = np.stack([_filled([np.arange(s.start, s.end)], num_queries) for s in segments])
    keys = np.stack([_filled([np.arange(s.prompt, s.prompt_end), np.arange(s.own, s.end)], num_keys) for s in segments])
    there = np.arange(num_keys) < np.array([s.num_keys for s in segments])[:, None]
    seen, seeing = keys[:, None, :], queries[:, :, None]
    related = (branch_of_place[seen] == PROMPT) | (branch_of_place[seen] == branch_of_place[seeing])
    visible = (seen <= seeing) & related & there[:, None, :]
    return Product(torch.from_numpy(queries), torch.from_numpy(keys), torch.from_numpy(visible))


def _filled(places: Sequence[np.ndarray], length: int) -> np.ndarray:
    joined = np.concatenate(places)
    return np.pad(joined, (0, length - len(joined)), mode="edge")

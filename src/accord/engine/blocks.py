"""How the sampler's cache is divided: rows of like lengths share a block, all of whose rows have as many places.

Attention reads all places of a block, used or not, and every block is a few calls more. Samples of one prompt may share
its places; then a block's rows have places for what follows the prompt alone, so that their lengths are alike. Pure:
`accord.engine.cache` holds the tensors, `accord.engine.played` plays through them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from typing import Protocol, TypeVar

# The numbers of keys that attention reads in the time that one more block takes.
BLOCK_COST = 200_000


class Shape(Protocol):
    """num_rows: in use; num_places: of each; num_prompts: those that rows share; prompt_places: of each."""

    @property
    def num_rows(self) -> int: ...
    @property
    def num_places(self) -> int: ...
    @property
    def num_prompts(self) -> int: ...
    @property
    def prompt_places(self) -> int: ...


B = TypeVar("B", bound=Shape)


def places_for(length: int) -> int:
    """The places of a block whose longest sequence has `length` tokens.

    They grow by 32: few enough that attention to the empty ones costs nothing, enough that a block seldom grows.
    """
    return -(-length // 32) * 32


def are_better_shared(lengths: Sequence[int], num_rows: int, numbers: int) -> bool:
    """Whether rows had better share the places of their prompts, of these lengths. numbers: of a place's keys.

    Apart, a row has the places that its own prompt needs; shared, every prompt has as many as the longest. Queries have
    to be brought to their prompts and back, which takes the time of two blocks.
    """
    apart = num_rows / len(lengths) * sum(places_for(length) for length in lengths)
    return (apart - len(lengths) * places_for(max(lengths))) * numbers > 2 * BLOCK_COST


def blocks_of(lengths: Sequence[int], numbers: int) -> list[int]:
    """The sizes of the blocks that cost least for rows of these lengths, in this order, that share no prompt."""
    runs = [(places, len(list(same))) for places, same in groupby(places_for(length) for length in lengths)]
    # of the first j runs: the least cost, in places, and the run that their last block begins with
    best = [(0.0, 0)]
    for end in range(1, len(runs) + 1):
        choices = []
        for start in range(end):
            own = runs[start:end]
            read = max(places for places, _ in own) * sum(num for _, num in own)
            choices.append((best[start][0] + BLOCK_COST / numbers + read, start))
        best.append(min(choices))
    bounds = [len(runs)]
    while bounds[-1]:
        bounds.append(best[bounds[-1]][1])
    return [sum(num for _, num in runs[start:end]) for start, end in pairwise(reversed(bounds))]


def merged(blocks: Sequence[B], joined: Callable[[B, B], B], numbers: int) -> list[B]:
    """With one block for neighbours that have become so small that two cost more."""
    found: list[B] = []
    for block in blocks:
        if found and are_better_as_one(found[-1], block, numbers):
            found[-1] = joined(found[-1], block)
        else:
            found.append(block)
    return found


def are_better_as_one(first: Shape, second: Shape, numbers: int) -> bool:
    """Whether reading more places costs less than a block: less than half, because to make one of two is a copy."""
    if bool(first.num_prompts) != bool(second.num_prompts):
        return False
    low, high = sorted((first, second), key=lambda one: one.num_places)
    added = low.num_rows * (high.num_places - low.num_places)
    low, high = sorted((first, second), key=lambda one: one.prompt_places)
    added += low.num_prompts * (high.prompt_places - low.prompt_places)
    return 2 * added * numbers < BLOCK_COST

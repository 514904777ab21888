"""Which trees share a micro-batch, and which share an optimizer step. Functions of the data and the config only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from accord.text.tree import Tree, TreeBatch


@dataclass(frozen=True)
class MicroBatch:
    """Trees that are computed together. indices: which of the given trees these are, in the batch's order."""

    indices: tuple[int, ...]
    trees: tuple[Tree, ...] = field(repr=False)

    @cached_property
    def batch(self) -> TreeBatch:
        """Made when it is first asked for, by whoever computes it."""
        return TreeBatch.from_trees(self.trees)

    @property
    def num_places(self) -> int:
        return sum(tree.num_tokens for tree in self.trees)

    def of(self, indices: Sequence[int]) -> MicroBatch:
        """The same, where the given trees were themselves a choice: of what has these indices."""
        return MicroBatch(tuple(indices[i] for i in self.indices), self.trees)


def micro_batches(trees: Sequence[Tree], max_tokens: int) -> list[MicroBatch]:
    """Neighbours of similar length together, at most `max_tokens` places a batch.

    Small batches stay in the processor's caches. A tree longer than `max_tokens` is a batch of its own. Longest first,
    so that too little memory shows at once and not at the end.
    """
    return list(iterate_micro_batches(trees, max_tokens))


def iterate_micro_batches(trees: Sequence[Tree], max_tokens: int) -> Iterator[MicroBatch]:
    """The batches of `micro_batches`, none kept: their masks together may be more than the memory."""
    order = sorted(range(len(trees)), key=lambda i: (-trees[i].num_tokens, i))
    group: list[int] = []
    places = 0
    for i in order:
        own = trees[i].num_tokens
        if group and places + own > max_tokens:
            yield MicroBatch(tuple(group), tuple(trees[j] for j in group))
            group, places = [], 0
        group.append(i)
        places += own
    if group:
        yield MicroBatch(tuple(group), tuple(trees[j] for j in group))


def balanced(loads: Sequence[float], num: int) -> list[list[int]]:
    """Indices of `loads` dealt to `num` workers so that these have much the same to do: the heaviest first, each to who
    has least (Graham 1969: at most 4/3 of the best there is). Each worker's stay in their order."""
    parts: list[list[int]] = [[] for _ in range(num)]
    sums = [0.0] * num
    for i in sorted(range(len(loads)), key=lambda i: (-loads[i], i)):
        least = min(range(num), key=lambda worker: (sums[worker], worker))
        parts[least].append(i)
        sums[least] += loads[i]
    return [sorted(part) for part in parts]


def narrowed(trees: Sequence[Tree], max_tokens: int) -> tuple[list[Tree], list[int]]:
    """Trees of at most `max_tokens` tokens where prompts and branches allow it, for passes that need nothing of a
    prompt's responses together; and of each the tree that it is a part of. The parts of a tree are neighbours.

    A part has at least twice as many branch tokens as its prompt has, if there are so many.
    """
    parts: list[Tree] = []
    owner: list[int] = []
    for i, tree in enumerate(trees):
        most = max(max_tokens - len(tree.prompt_ids), 2 * len(tree.prompt_ids))
        first = width = 0
        for k, branch in enumerate(tree.branches):
            if width and width + len(branch.ids) > most:
                parts.append(Tree(tree.prompt_ids, tree.branches[first:k]))
                owner.append(i)
                first, width = k, 0
            width += len(branch.ids)
        parts.append(tree if first == 0 else Tree(tree.prompt_ids, tree.branches[first:]))
        owner.append(i)
    return parts, owner


def shared_prompts(trees: Sequence[Tree], max_tokens: int) -> list[Tree]:
    """Joins trees with equal prompts into wider ones of at most `max_tokens`, so that the prompt is computed once.

    For losses that are sums over branches (supervised fine-tuning); the result is the same sum.
    """
    joined: list[Tree] = []
    open_at: dict[tuple[int, ...], int] = {}
    for tree in sorted(trees, key=lambda tree: tree.num_tokens):
        at = open_at.get(tree.prompt_ids)
        if at is not None:
            wider = Tree(tree.prompt_ids, joined[at].branches + tree.branches)
            if wider.num_tokens <= max_tokens:
                joined[at] = wider
                continue
        open_at[tree.prompt_ids] = len(joined)
        joined.append(tree)
    return joined


def shuffled_batches(num_items: int, batch_size: int, num_epochs: float, seed: int) -> Iterator[tuple[int, ...]]:
    """Indices of each optimizer step: a new order every epoch, nothing left out, the last batch of an epoch smaller.

    A fractional `num_epochs` stops part-way through the last epoch, after at least one batch.
    """
    assert num_items > 0, "without items no epoch would ever end"
    wanted = max(1, round(num_items * num_epochs))
    given = epoch = 0
    while given < wanted:
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_items)
        for at in range(0, num_items, batch_size):
            batch = tuple(int(i) for i in order[at : at + min(batch_size, wanted - given)])
            if not batch:
                return
            given += len(batch)
            yield batch
        epoch += 1

"""The one forward-only pass: a number for every branch or token of many trees, in the order of the trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from accord.engine.group import current, fair_micro_batches, places, spread
from accord.text.batching import MicroBatch, narrowed
from accord.text.tree import Tree, TreeBatch

Read = Callable[[TreeBatch], Tensor]
MAX_TOKENS: Final = 2048  # of a micro-batch; a tree that has more is read in parts


@torch.no_grad()
def per_branch(
    trees: Sequence[Tree],
    read: Read,
    *,
    max_tokens: int = MAX_TOKENS,
    advance: Callable[[int], None] | None = None,
) -> list[Tensor]:
    """One number a branch: `read` gives [S] for a batch. Returns for each tree its [K], in fp32.

    advance: told trees, as many as what was read is worth. In a group the leading process tells them as it goes, as if
    all were as far as it is, and may stop there; the others, who would wait for those who stopped, when all are read.
    """
    parts, owner = narrowed(trees, max_tokens)
    micros = fair_micro_batches(parts, max_tokens)
    group, total = current(), sum(micro.num_places for micro in micros)
    num_read, told = 0, 0

    def scored(micro: MicroBatch) -> Tensor:
        nonlocal num_read, told
        values = read(micro.batch)
        if advance and group.rank == 0:
            num_read = min(num_read + micro.num_places * group.size, total)
            before, told = told, len(trees) * num_read // total
            advance(told - before)
        return values

    found: list[Tensor] = [torch.empty(0)] * len(parts)
    for micro, values in zip(micros, spread(micros, places, scored), strict=True):
        of_parts = values.split([len(parts[i].branches) for i in micro.indices])
        for i, of_part in zip(micro.indices, of_parts, strict=True):
            found[i] = of_part
    if advance and told < len(trees):
        advance(len(trees) - told)
    out: list[list[Tensor]] = [[] for _ in trees]
    for i, of_part in zip(owner, found, strict=True):
        out[i].append(of_part)
    return [torch.cat(of_tree) for of_tree in out]


@torch.no_grad()
def per_token(micros: Sequence[MicroBatch], read: Read) -> list[Tensor]:
    """`read` gives [N], one number for each scored token of a batch, or [M, N]. Returns it for each micro-batch.

    The micro-batches are the caller's, so that a pass before and a pass within training can have the same ones.
    """
    return spread(micros, places, lambda micro: read(micro.batch))


def padded(micros: Sequence[MicroBatch], flat: Sequence[Tensor], trees: Sequence[Tree]) -> tuple[Tensor, Tensor]:
    """Per-token numbers of micro-batches as ([S, R], mask [S, R]): one row for each branch of `trees`, in their order.

    All tokens of the branches are scored ones (responses that a policy sampled).
    """
    first_row = [0]
    for tree in trees:
        first_row.append(first_row[-1] + len(tree.branches))
    width = max(len(branch.ids) for tree in trees for branch in tree.branches)
    values = torch.zeros(first_row[-1], width)
    mask = torch.zeros(first_row[-1], width, dtype=torch.bool)
    for micro, numbers in zip(micros, flat, strict=True):
        at = 0
        for i in micro.indices:
            for k, branch in enumerate(trees[i].branches):
                num = len(branch.ids)
                values[first_row[i] + k, :num] = numbers[at : at + num]
                mask[first_row[i] + k, :num] = True
                at += num
        assert at == len(numbers)
    return values, mask


def flat_like(micro: MicroBatch, values: Tensor, trees: Sequence[Tree]) -> Tensor:
    """The inverse of `padded` for one micro-batch: [N] from [S, R]."""
    num_responses = len(trees[0].branches)
    assert all(len(tree.branches) == num_responses for tree in trees)
    return torch.cat(
        [
            values[i * num_responses + k, : len(branch.ids)]
            for i in micro.indices
            for k, branch in enumerate(trees[i].branches)
        ]
    )

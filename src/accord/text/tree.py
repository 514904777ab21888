"""The response tree: one prompt, K branches behind it. The one tensor layout of training and scoring.

Prompt `p0 p1 p2`, responses `a0 a1` and `b0 b1 b2`:

    token      p0 p1 p2 a0 a1 b0 b1 b2
    position    0  1  2  3  4  3  4  5
    branch      -  -  -  0  0  1  1  1      a branch sees the prompt and its own earlier tokens
    scored by   .  .  .  p2 a0 p2 b0 b1     the place whose output gives this token's logprob (and value)

The flat layout that others use (every response with its own copy of the prompt) is the same thing with one branch a
tree: `flatten(tree)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accord.text.segments import PROMPT, Product, Segment, mean_keys, mean_width, product_of, segments_of, together


@dataclass(frozen=True, slots=True)
class Branch:
    """The tokens of one response. `scored` selects those that a loss or a logprob is wanted for (None: all)."""

    ids: tuple[int, ...]
    scored: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """One prompt (at least one token, to score the branches' first tokens) and its branches (none of them empty)."""

    prompt_ids: tuple[int, ...]
    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        assert self.prompt_ids, "a tree needs a prompt token to score its branches' first tokens"
        assert self.branches, "a tree needs a branch"
        assert all(branch.ids for branch in self.branches), "a branch needs a token"

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_ids) + sum(len(branch.ids) for branch in self.branches)

    @property
    def depth(self) -> int:
        """The tokens of the prompt and its longest branch: what a model's context has to hold."""
        return len(self.prompt_ids) + max(len(branch.ids) for branch in self.branches)


def flatten(tree: Tree) -> tuple[Tree, ...]:
    """The same responses as one-branch trees, each with a prompt of its own."""
    return tuple(Tree(tree.prompt_ids, (branch,)) for branch in tree.branches)


@dataclass(frozen=True, slots=True)
class TreeBatch:
    """Trees as tensors, one after the other, without padding: T places, each of a token.

    ids, positions: [T] int64. tree_of_place, branch_of_place: [T] int64, which say who sees whom: a place of a prompt
    has the branch PROMPT. segments: the same, as attention is computed. For the N scored tokens, ordered by tree,
    branch and place: `targets` [N] their ids, `scoring_rows` [N] the place whose output scores each, and
    `branch_of_token` [N]. For the S branches, ordered by tree: `last_rows` [S], the place of each one's last token,
    where a reward model's score is read; `tree_of_branch` [S].
    """

    ids: Tensor
    positions: Tensor
    tree_of_place: Tensor
    branch_of_place: Tensor
    segments: tuple[Segment, ...]
    targets: Tensor
    scoring_rows: Tensor
    branch_of_token: Tensor
    last_rows: Tensor
    tree_of_branch: Tensor
    num_trees: int

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def num_branches(self) -> int:
        return len(self.last_rows)

    @property
    def mean_width(self) -> float:
        """The mean over places of how many keys attention computes for each."""
        return mean_width(self.segments)

    @property
    def mean_keys(self) -> float:
        """The mean over places of how many keys are copied for attention: a prompt's for each segment."""
        return mean_keys(self.segments)

    @property
    def products(self) -> tuple[Product, ...]:
        """Who sees whom, as attention is computed. Made anew whenever it is asked for."""
        branch_of_place = self.branch_of_place.numpy()
        return tuple(product_of(segments, branch_of_place) for segments in together(self.segments))

    @staticmethod
    def from_trees(trees: Sequence[Tree]) -> TreeBatch:
        """Lays the trees out in their order."""
        num_tokens = [tree.num_tokens for tree in trees]
        ids, positions, branch_at = np.empty((3, sum(num_tokens)), dtype=np.int64)
        segments, targets, scoring_rows, branch_of_token = [], [], [], []
        last_rows: list[int] = []
        tree_of_branch: list[int] = []
        start = 0
        for number, tree in enumerate(trees):
            segments += segments_of(start, len(tree.prompt_ids), [len(branch.ids) for branch in tree.branches])
            at = start + len(tree.prompt_ids)
            ids[start:at] = tree.prompt_ids
            positions[start:at] = np.arange(at - start)
            branch_at[start:at] = PROMPT
            prompt_end = at - 1
            for branch in tree.branches:
                end = at + len(branch.ids)
                ids[at:end] = branch.ids
                positions[at:end] = np.arange(len(tree.prompt_ids), len(tree.prompt_ids) + end - at)
                branch_at[at:end] = len(last_rows)
                wanted = slice(None) if branch.scored is None else np.array(branch.scored, dtype=bool)
                scorers = np.arange(at - 1, end - 1)
                scorers[0] = prompt_end
                targets.append(ids[at:end][wanted])
                scoring_rows.append(scorers[wanted])
                branch_of_token.append(branch_at[at:end][wanted])
                last_rows.append(end - 1)
                tree_of_branch.append(number)
                at = end
            start = at
        return TreeBatch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            tree_of_place=torch.from_numpy(np.repeat(np.arange(len(trees)), num_tokens)),
            branch_of_place=torch.from_numpy(branch_at),
            segments=tuple(segments),
            targets=torch.from_numpy(np.concatenate(targets)),
            scoring_rows=torch.from_numpy(np.concatenate(scoring_rows)),
            branch_of_token=torch.from_numpy(np.concatenate(branch_of_token)),
            last_rows=torch.tensor(last_rows, dtype=torch.int64),
            tree_of_branch=torch.tensor(tree_of_branch, dtype=torch.int64),
            num_trees=len(trees),
        )

"""The response tree: one prompt, K branches behind it. The one tensor layout of training and scoring.

Prompt `p0 p1 p2`, responses `a0 a1` and `b0 b1 b2`:

    token      p0 p1 p2 a0 a1 b0 b1 b2
    position    0  1  2  3  4  3  4  5
    branch      -  -  -  0  0  1  1  1      a branch sees the prompt and its own earlier tokens
    scored by   .  .  .  p2 a0 p2 b0 b1     the row whose output gives this token's logprob (and value)

The flat layout that others use (every response with its own copy of the prompt) is the same thing with one branch a
tree: `flatten(tree)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_PADDING, _PROMPT = -2, -1


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
    """Trees as tensors: B rows of T tokens, each row holding one tree or several (packing), padded on the right.

    ids, positions: [B, T] int64. visible: [B, T, T] bool, True where row i may attend to column j.
    For the N scored tokens, ordered by tree, branch and place: `targets` [N] their ids, `scoring_rows` [N] the row, as
    an index into B * T, whose output scores each, and `branch_of_token` [N]. For the S branches, ordered by tree:
    `last_rows` [S], the row of each one's last token, where a reward model's score is read; `tree_of_branch` [S].
    """

    ids: Tensor
    positions: Tensor
    visible: Tensor
    targets: Tensor
    scoring_rows: Tensor
    branch_of_token: Tensor
    last_rows: Tensor
    tree_of_branch: Tensor
    num_trees: int
    num_tokens: int

    @property
    def num_branches(self) -> int:
        return len(self.last_rows)

    @staticmethod
    def from_rows(rows: Sequence[Sequence[Tree]], pad_id: int) -> TreeBatch:
        """Lays the trees of each row one after the other; padding rows attend to themselves only."""
        width = max(sum(tree.num_tokens for tree in row) for row in rows)
        shape = (len(rows), width)
        ids = np.full(shape, pad_id, dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        tree_at = np.full(shape, _PADDING, dtype=np.int64)
        branch_at = np.full(shape, _PROMPT, dtype=np.int64)
        targets: list[int] = []
        scoring_rows: list[int] = []
        branch_of_token: list[int] = []
        last_rows: list[int] = []
        tree_of_branch: list[int] = []
        num_trees = num_tokens = 0
        for r, row in enumerate(rows):
            at = 0
            for tree in row:
                num_prompt = len(tree.prompt_ids)
                ids[r, at : at + num_prompt] = tree.prompt_ids
                positions[r, at : at + num_prompt] = np.arange(num_prompt)
                tree_at[r, at : at + tree.num_tokens] = num_trees
                prompt_end = r * width + at + num_prompt - 1
                at += num_prompt
                for branch in tree.branches:
                    num = len(branch.ids)
                    ids[r, at : at + num] = branch.ids
                    positions[r, at : at + num] = np.arange(num_prompt, num_prompt + num)
                    branch_at[r, at : at + num] = len(last_rows)
                    scorers = [prompt_end, *range(r * width + at, r * width + at + num - 1)]
                    wanted = branch.scored if branch.scored is not None else (True,) * num
                    for token, scorer, want in zip(branch.ids, scorers, wanted, strict=True):
                        if want:
                            targets.append(token)
                            scoring_rows.append(scorer)
                            branch_of_token.append(len(last_rows))
                    at += num
                    last_rows.append(r * width + at - 1)
                    tree_of_branch.append(num_trees)
                num_trees += 1
                num_tokens += tree.num_tokens
        return TreeBatch(
            ids=torch.from_numpy(ids),
            positions=torch.from_numpy(positions),
            visible=torch.from_numpy(_visible(tree_at, branch_at)),
            targets=torch.tensor(targets, dtype=torch.int64),
            scoring_rows=torch.tensor(scoring_rows, dtype=torch.int64),
            branch_of_token=torch.tensor(branch_of_token, dtype=torch.int64),
            last_rows=torch.tensor(last_rows, dtype=torch.int64),
            tree_of_branch=torch.tensor(tree_of_branch, dtype=torch.int64),
            num_trees=num_trees,
            num_tokens=num_tokens,
        )


def _visible(tree_at: np.ndarray, branch_at: np.ndarray) -> np.ndarray:
    """[B, T, T]: the same tree, not later, and either a prompt token or one of the same branch."""
    width = tree_at.shape[1]
    not_later = np.tri(width, dtype=bool)
    same_tree = tree_at[:, :, None] == tree_at[:, None, :]
    in_sight = (branch_at[:, None, :] == _PROMPT) | (branch_at[:, :, None] == branch_at[:, None, :])
    visible: np.ndarray = not_later & same_tree & in_sight
    padding = tree_at == _PADDING
    visible[padding] = False
    visible[:, np.arange(width), np.arange(width)] |= padding  # a fully masked row would be NaN
    return visible

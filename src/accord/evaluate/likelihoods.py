"""How probable given continuations are: those of one context are branches of one tree, and the context is read once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch

from accord.engine.scorer import padded
from accord.errors import UserError
from accord.models.policy import Policy
from accord.text.batching import micro_batches
from accord.text.tree import Branch, Tree

_MAX_TOKENS: Final = 2048  # of a batch, and of a tree
_AT_ONCE: Final = 64  # trees between two steps of the progress

Ids = Sequence[int]


def continuation_logprobs(
    policy: Policy,
    pairs: Sequence[tuple[Ids, Ids]],
    context: int,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> list[tuple[float, bool]]:
    """Of each pair, what stands before and a continuation, both in tokens and not empty: the continuation's
    log-probability, in nats, and whether each of its tokens is the most probable one.

    context: how many tokens the model reads; of a longer pair the oldest are left out. `advance` is told how many pairs
    have been read. Raises UserError for a continuation that is longer by itself.
    """
    trees, places = _trees(pairs, context)
    found: list[tuple[float, bool]] = [(0.0, False)] * len(pairs)
    for at in range(0, len(trees), _AT_ONCE):
        answers = _read(policy, trees[at : at + _AT_ONCE])
        of_batch = [i for of_tree in places[at : at + _AT_ONCE] for i in of_tree]
        for i, answer in zip(of_batch, answers, strict=True):
            found[i] = answer
        advance(len(of_batch))
    return found


def _trees(pairs: Sequence[tuple[Ids, Ids]], context: int) -> tuple[list[Tree], list[list[int]]]:
    """The trees, and of which pair each of their branches is."""
    trees: list[Tree] = []
    places: list[list[int]] = []
    open_tree: dict[tuple[int, ...], int] = {}
    for i, (before, continuation) in enumerate(pairs):
        room = context - len(continuation)
        if room < 1 or not continuation:
            what = f"a continuation has {len(continuation)} tokens, and the model reads {context}"
            raise UserError(what, remedy="One token has to fit in front of it, and it has at least one.")
        prompt, branch = tuple(before[-room:]), Branch(tuple(continuation))
        at = open_tree.get(prompt)
        if at is not None and trees[at].num_tokens + len(continuation) <= _MAX_TOKENS:
            trees[at] = Tree(prompt, (*trees[at].branches, branch))
            places[at].append(i)
        else:
            open_tree[prompt] = len(trees)
            trees.append(Tree(prompt, (branch,)))
            places.append([i])
    return trees, places


@torch.no_grad()
def _read(policy: Policy, trees: Sequence[Tree]) -> list[tuple[float, bool]]:
    """Of each branch of each tree, in their order."""
    micros = micro_batches(trees, _MAX_TOKENS)
    read = [policy.token_logprobs(micro.batch) for micro in micros]
    logprobs, mask = padded(micros, [one.logprobs for one in read], trees)
    likeliest, _ = padded(micros, [one.likeliest for one in read], trees)
    sums = torch.where(mask, logprobs, 0.0).sum(dim=1).tolist()
    greedy = (likeliest.bool() | ~mask).all(dim=1).tolist()
    return list(zip(sums, greedy, strict=True))

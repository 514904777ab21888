"""What a policy's own distribution says of tokens: of given ones, in one forward-only pass, and of those it draws.

Its own: softmax(logits), before any temperature and nucleus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accord.models.policy import Policy
from accord.text.batching import iterate_micro_batches
from accord.text.tree import Branch, Tree

_MAX_TOKENS = 2048  # of a batch
_ROWS = 64  # whose logits over the vocabulary are in the memory at once


@dataclass(frozen=True, slots=True)
class Reading:
    """Of one token. logprob: in nats. top: the most probable tokens at its place, the most probable first."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens to read. num_top: most probable ones to name. follow: whether the most probable token behind them is
    read, too."""

    ids: tuple[int, ...]
    num_top: int = 0
    follow: bool = False


def read(policy: Policy, texts: Sequence[Text]) -> list[list[Reading]]:
    """Of each text: its tokens but the first, before which there is nothing; and what most probably follows, if asked.

    The logits of a long text are never all in the memory.
    """
    found: list[list[Reading]] = [[] for _ in texts]
    wanted = [i for i, text in enumerate(texts) if len(text.ids) > 1 or text.follow]
    pad_id = policy.template.pad_id
    with torch.no_grad():
        for micro in iterate_micro_batches([_tree(texts[i], pad_id) for i in wanted], _MAX_TOKENS):
            states = policy.scoring_states(micro.batch)
            rows = [row for tree in micro.indices for row in _rows(texts, wanted[tree])]
            own = read_rows(policy, states, [(texts[i].num_top, token) for i, token in rows])
            for (i, _), reading in zip(rows, own, strict=True):
                found[i].append(reading)
    return found


def read_rows(policy: Policy, states: Tensor, wanted: Sequence[tuple[int, int | None]]) -> Iterator[Reading]:
    """Of the states behind which tokens stand, [n, d]. wanted: of each how many of the most probable ones are named,
    and the token; None: the most probable."""
    for at in range(0, len(wanted), _ROWS):
        some = wanted[at : at + _ROWS]
        logprobs = (states[at : at + _ROWS] @ policy.head.T).float().log_softmax(dim=1)
        best = logprobs.argmax(dim=1).tolist()
        tokens = [most if token is None else token for most, (_, token) in zip(best, some, strict=True)]
        yield from readings_of(logprobs, tokens, [num_top for num_top, _ in some])


def readings_of(logprobs_nv: Tensor, tokens: Sequence[int], num_top: Sequence[int]) -> list[Reading]:
    """Of one token a row, and as many of the row's most probable ones as it wants."""
    own = logprobs_nv.gather(1, torch.tensor(tokens, device=logprobs_nv.device)[:, None]).squeeze(1).tolist()
    best = logprobs_nv.topk(min(max(num_top), logprobs_nv.shape[1]), dim=1)
    rows = zip(tokens, own, best.indices.tolist(), best.values.tolist(), num_top, strict=True)
    return [
        Reading(token, logprob, tuple(zip(ids[:num], values[:num], strict=True)))
        for token, logprob, ids, values, num in rows
    ]


def _tree(text: Text, pad_id: int) -> Tree:
    """All tokens but the first are scored. A pad stands for the one that follows, which nobody knows yet."""
    follows = (pad_id,) if text.follow else ()
    return Tree(text.ids[:1], (Branch((*text.ids[1:], *follows)),))


def _rows(texts: Sequence[Text], i: int) -> list[tuple[int, int | None]]:
    """For each place of a text that is read: which text it is of, and the token; None: the most probable."""
    known = [(i, token) for token in texts[i].ids[1:]]
    return [*known, (i, None)] if texts[i].follow else [*known]

"""How probable a policy finds the answers of a benchmark's questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch

from accord.engine.group import fair_micro_batches
from accord.engine.rollout import context_of
from accord.engine.scorer import padded, per_token
from accord.errors import UserError
from accord.evaluate.multiple_choice import Choices
from accord.models.policy import Policy
from accord.types import Message, Prompt, Response

_MAX_TOKENS: Final = 2048  # in a batch of the forward-only pass
_AT_ONCE: Final = 8  # questions between two steps of the progress


def answer_logprobs(
    policy: Policy, questions: Sequence[Choices], advance: Callable[[int], None] = lambda _: None
) -> list[list[float]]:
    """Of each question's answers, in the order of `Choices.answers`, in nats, with the end of the turn. advance:
    questions read. Raises UserError for a question that is too long for the policy."""
    template, context = policy.template, context_of(policy.module.config)
    found: list[list[float]] = []
    for at in range(0, len(questions), _AT_ONCE):
        some = questions[at : at + _AT_ONCE]
        trees = [
            template.tree(Prompt("q", (Message("user", one.question),)), [Response(text) for text in one.answers])
            for one in some
        ]
        for one, tree in zip(some, trees, strict=True):
            num = len(tree.prompt_ids) + max(len(branch.ids) for branch in tree.branches)
            if context is not None and num > context:
                what = f"a question and its longest answer have {num} tokens, and the model reads {context}"
                raise UserError(f"{what}: {one.question[:60]!r}", remedy="Leave it out, or take a longer context.")
        micros = fair_micro_batches(trees, _MAX_TOKENS)
        values, mask = padded(micros, per_token(micros, lambda batch: policy.token_logprobs(batch).logprobs), trees)
        sums = iter(torch.where(mask, values, 0.0).sum(dim=1).tolist())
        found += [[next(sums) for _ in one.answers] for one in some]
        advance(len(some))
    return found

"""A judge's questions to a policy of one's own, in this process.

Where the judge writes one label and nothing else, nothing is sampled: the labels are the branches of one tree behind
the question, and one forward pass gives their probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from accord.collect.answer_log import Reply
from accord.collect.askers import Question
from accord.engine.rollout import context_of, roll_out
from accord.engine.scorer import padded, per_token
from accord.models.policy import Policy
from accord.text.batching import micro_batches
from accord.types import Prompt, Response

_MAX_TOKENS = 4096  # in a batch of the forward-only pass
_AT_ONCE = 32  # questions between two replies


class PolicyAsker:
    """Deterministic: the most probable label, or greedy text."""

    def __init__(self, policy: Policy, name: str) -> None:
        self._policy, self.name = policy, name
        self._context = context_of(policy.module.config)

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        """None for a question that is too long for the policy, or holds a token that begins or ends turns."""
        for at in range(0, len(questions), _AT_ONCE):
            some = questions[at : at + _AT_ONCE]
            prompts = [Prompt(f"q{i}", question.messages) for i, question in enumerate(some)]
            can = [i for i, prompt in enumerate(prompts) if self._fits(prompt, some[i])]
            replies: list[Reply | None] = [None] * len(some)
            for labels in sorted({some[i].labels for i in can}):
                own = [i for i in can if some[i].labels == labels]
                for i, reply in zip(own, self._replies([prompts[i] for i in own], some[own[0]]), strict=True):
                    replies[i] = reply
            yield from replies

    def _fits(self, prompt: Prompt, question: Question) -> bool:
        template = self._policy.template
        if template.control_token(prompt) is not None:
            return False
        num = len(template.prompt_ids(prompt)) + question.max_tokens
        return self._context is None or num <= self._context

    def _replies(self, prompts: Sequence[Prompt], like: Question) -> list[Reply]:
        if like.labels:
            return self._chosen(prompts, like.labels)
        rollout = roll_out(
            self._policy,
            prompts,
            num_samples=1,
            max_response_tokens=like.max_tokens,
            temperature=0.0,
            key=("judge",),
            num_slots=len(prompts),
        )
        return [Reply(response.text) for (response,) in rollout.responses]

    def _chosen(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> list[Reply]:
        template = self._policy.template
        trees = [template.tree(prompt, [Response(label) for label in labels]) for prompt in prompts]
        micros = micro_batches(trees, template.pad_id, _MAX_TOKENS)
        flat = per_token(micros, lambda batch: self._policy.token_logprobs(batch, 1.0).logprobs)
        values_sr, mask_sr = padded(micros, flat, trees)
        mask_sr[torch.arange(len(mask_sr)), mask_sr.sum(dim=1) - 1] = False  # the end of the turn is no part of a label
        logprobs = torch.where(mask_sr, values_sr, 0.0).sum(dim=1).view(len(trees), len(labels)).tolist()
        return [Reply(max(zip(row, labels, strict=True))[1], dict(zip(labels, row, strict=True))) for row in logprobs]

"""A judge's questions to a policy of one's own, in this process.

Where the judge writes one label and nothing else, nothing is sampled: the labels are the branches of one tree behind
the question, and one forward pass gives their probabilities. Where it writes reasons first, these are sampled, and the
labels stand behind them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from accord.collect.answer_log import Reply
from accord.collect.askers import Question
from accord.collect.reading import found_last
from accord.engine.group import fair_micro_batches
from accord.engine.rollout import context_of, roll_out
from accord.engine.scorer import padded, per_token
from accord.models.policy import Policy
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
            for like in dict.fromkeys(_kind(some[i]) for i in can):
                own = [i for i in can if _kind(some[i]) == like]
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
        if like.labels and like.verdict is None:
            logprobs = self._of_labels(prompts, like.labels)
            return [Reply(max(one, key=lambda label: one[label]), one) for one in logprobs]
        rollout = roll_out(
            self._policy,
            prompts,
            num_samples=1,
            max_response_tokens=like.max_tokens,
            temperature=0.0,
            key=("judge",),
            num_slots=len(prompts),
        )
        texts = [response.text for (response,) in rollout.responses]
        if like.verdict is None or not like.labels:
            return [Reply(text) for text in texts]
        found = [found_last(like.verdict, text) for text in texts]
        upto = {
            i: replace(prompts[i], prefill=text[: one[0]])
            for i, (text, one) in enumerate(zip(texts, found, strict=True))
            if one is not None
        }
        can = [i for i, prompt in upto.items() if self._policy.template.control_token(prompt) is None]
        read = dict(zip(can, self._of_labels([upto[i] for i in can], like.labels), strict=True))
        return [Reply(text, read.get(i)) for i, text in enumerate(texts)]

    def _of_labels(self, prompts: Sequence[Prompt], labels: Sequence[str]) -> list[dict[str, float]]:
        """The logprob of each label, of one that is the beginning of another's tokens without that other one."""
        if not prompts:
            return []
        template = self._policy.template
        trees = [template.tree(prompt, [Response(label) for label in labels]) for prompt in prompts]
        micros = fair_micro_batches(trees, _MAX_TOKENS)
        flat = per_token(micros, lambda batch: self._policy.token_logprobs(batch, 1.0).logprobs)
        values_sr, mask_sr = padded(micros, flat, trees)
        mask_sr[torch.arange(len(mask_sr)), mask_sr.sum(dim=1) - 1] = False  # the end of the turn is no part of a label
        logprobs = torch.where(mask_sr, values_sr, 0.0).sum(dim=1).view(len(trees), len(labels)).tolist()
        ids = {label: template.response_ids(Response(label, finished=False)) for label in labels}
        return [without_longer(dict(zip(labels, row, strict=True)), ids) for row in logprobs]


def _kind(question: Question) -> tuple[object, ...]:
    """Questions of one kind are answered together."""
    return question.labels, question.verdict, question.max_tokens


def without_longer(logprobs: Mapping[str, float], ids: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    """log(p(label) - sum of p(longer labels that begin with its tokens)): "1" is what is not "10". A label of which
    nothing is left is missing. ids: of each label.

    >>> found = without_longer({"1": math.log(0.5), "10": math.log(0.2)}, {"1": (7,), "10": (7, 8)})
    >>> round(math.exp(found["1"]), 9), round(math.exp(found["10"]), 9)
    (0.3, 0.2)
    """
    found: dict[str, float] = {}
    for label in sorted(logprobs, key=lambda one: -len(ids[one])):  # longer ones are done before
        own, logprob = ids[label], logprobs[label]
        longer = [found[one] for one in found if len(ids[one]) > len(own) and ids[one][: len(own)] == own]
        share = sum(math.exp(other - logprob) for other in longer)
        if share < 1:
            found[label] = logprob + math.log1p(-share)
    return {label: found[label] for label in logprobs if label in found}

"""A policy in torch as an `Engine`, as `accord.engine.sampling` has it; and all responses to many prompts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from accord.engine.group import current
from accord.engine.pieces import read_in_pieces
from accord.engine.readings import Reading, Text, read
from accord.engine.sampler import Sampler
from accord.engine.sampling import COLDEST, Engine, Request, Sample, drain, together
from accord.models.folders import context_of
from accord.models.policy import Policy
from accord.text.batching import balanced
from accord.text.template import Template

__all__ = ["PolicyEngine", "Request", "Sample", "engine_of", "sample_all"]


class PolicyEngine:
    """A policy in torch, as an engine."""

    coldest = COLDEST

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    @property
    def template(self) -> Template:
        return self._policy.template

    @property
    def context(self) -> int | None:
        return context_of(self._policy.module.config)

    @property
    def num_vocabulary(self) -> int:
        return len(self._policy.head)

    def sampling(
        self,
        *,
        num_slots: int,
        max_response_tokens: int,
        temperature: float = 1.0,
        max_read_tokens: int | None = None,
    ) -> Sampler:
        return Sampler(
            self._policy,
            num_slots=num_slots,
            max_response_tokens=max_response_tokens,
            temperature=temperature,
            max_read_tokens=max_read_tokens,
        )

    def read(self, texts: Sequence[Text]) -> list[list[Reading]]:
        return read(self._policy, texts)

    def read_in_pieces(self, text: Text, num_tokens: int) -> Iterator[list[Reading]]:
        return read_in_pieces(self._policy, text, num_tokens)


def engine_of(policy: Policy | Engine) -> Engine:
    """What has a policy's weights: a policy in torch has its own."""
    return PolicyEngine(policy) if isinstance(policy, Policy) else policy


def sample_all(
    policy: Policy | Engine,
    requests: Sequence[Request],
    *,
    max_response_tokens: int,
    temperature: float = 1.0,
    num_slots: int = 128,
    advance: Callable[[int], None] | None = None,
) -> list[list[Sample]]:
    """As `drain`; in a group of processes each writes the responses to a part of the requests, and `advance` is told of
    those of the others when all have come together."""
    places = [
        len(one.prompt_ids) + one.num_samples * (one.max_response_tokens or max_response_tokens) for one in requests
    ]
    parts = balanced(places, current().size)
    own = [requests[i] for i in parts[current().rank]]
    with _whole(policy) if current().size > 1 else nullcontext():
        sampling = engine_of(policy).sampling(
            num_slots=max(num_slots, max(request.num_samples for request in requests)),
            max_response_tokens=max_response_tokens,
            temperature=temperature,
        )
        samples = drain(sampling, own, advance)
    found = together(samples, parts)
    if advance and len(own) < len(requests):
        advance(sum(request.num_samples for request in requests) - sum(request.num_samples for request in own))
    return found


def _whole(policy: Policy | Engine) -> AbstractContextManager[None]:
    """The processes sample for different times, so nothing is gathered in a step."""
    from accord.engine.sharding import whole

    return whole(policy.module) if isinstance(policy, Policy) else nullcontext()

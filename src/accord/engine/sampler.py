"""Sampling in slots: requests are submitted, every step adds one token to each active slot, finished slots leave.

A prompt is prefilled once for all its samples, and the active slots alone are computed, so that the work of a step is
proportional to what is still being written. Which token a row draws depends on
its own key, its place in the response and its probabilities, and on nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from accord.algorithms.sampling import draw
from accord.engine.cache import SlotCache
from accord.models.compute import device_of
from accord.models.packed import PackedLinears
from accord.models.policy import Policy, hidden_states
from accord.seeds import derive_seed
from accord.text.prompts import PromptBatch


@dataclass(frozen=True, slots=True)
class Request:
    """K samples of one prompt. `key`: what the draws are seeded by, for example (seed, "ppo", 3, prompt id)."""

    prompt_ids: tuple[int, ...]
    num_samples: int
    key: tuple[int | str, ...]


@dataclass(slots=True)
class Sample:
    """One response: tokens, end of turn included when it was `finished`, and the logprob each was drawn with."""

    request: int
    k: int
    uniforms: np.ndarray
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False


class Sampler:
    """Draws from a policy's own distribution at a temperature (0: the most probable token).

    The policy's weights are taken as they are now: when they have changed, it takes another sampler.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        num_slots: int,
        max_response_tokens: int,
        temperature: float = 1.0,
    ) -> None:
        self._policy, self._temperature, self._max_tokens = policy, temperature, max_response_tokens
        self._device = device_of(policy.module)
        self._cache = SlotCache(policy.module)
        self._linears = PackedLinears(policy.module.base_model, policy.head)
        self._num_slots = num_slots
        self._waiting: deque[tuple[int, Request]] = deque()
        self._active: list[Sample] = []
        self._last_ids = torch.zeros(num_slots, dtype=torch.int64)
        self._lengths = torch.zeros(num_slots, dtype=torch.int64)
        self._num_submitted = 0

    def submit(self, request: Request) -> int:
        """Queues a request and returns its number, by which its samples can be told."""
        assert 0 < request.num_samples <= self._num_slots
        self._waiting.append((self._num_submitted, request))
        self._num_submitted += 1
        return self._num_submitted - 1

    @torch.no_grad()
    def step(self) -> list[Sample]:
        """Admits waiting requests to free slots, adds one token to every active row, and returns those that ended."""
        ended = self._admit()
        num = len(self._active)
        if num:
            self._cache.begin_decode(self._lengths[:num])
            hidden = self._hidden(self._last_ids[:num, None], self._lengths[:num, None])
            self._lengths[:num] += 1
            self._draw(hidden, range(num))
            ended += self._release()
        return ended

    @property
    def busy(self) -> bool:
        return bool(self._active or self._waiting)

    @property
    def active(self) -> tuple[Sample, ...]:
        """The samples that are being written."""
        return tuple(self._active)

    def _admit(self) -> list[Sample]:
        """Prefills as many waiting requests as fit, when enough slots are free to make the pass worth its cost."""
        free = self._num_slots - len(self._active)
        if not self._waiting or (self._active and free < max(self._num_slots // 4, self._waiting[0][1].num_samples)):
            return []
        admitted: list[tuple[int, Request]] = []
        while self._waiting and self._waiting[0][1].num_samples <= free:
            number, request = self._waiting.popleft()
            admitted.append((number, request))
            free -= request.num_samples
        admitted.sort(key=lambda one: len(one[1].prompt_ids))
        first = len(self._active)
        prompt_of_slot: list[int] = []
        for at, (number, request) in enumerate(admitted):
            for k in range(request.num_samples):
                self._lengths[first + len(prompt_of_slot)] = len(request.prompt_ids)
                prompt_of_slot.append(at)
                generator = np.random.Generator(np.random.Philox(key=derive_seed(*request.key, k)))
                self._active.append(Sample(number, k, generator.random(self._max_tokens)))
        batch = PromptBatch.of([request.prompt_ids for _, request in admitted], self._policy.template.pad_id)
        self._cache.begin_prefill(batch, prompt_of_slot)
        hidden = self._hidden(batch.ids[None], batch.positions[None])
        last = torch.tensor([batch.starts[i] + batch.lengths[i] - 1 for i in prompt_of_slot])
        self._draw(hidden[last.to(self._device)], range(first, len(self._active)))
        return self._release()

    def _hidden(self, ids: Tensor, positions: Tensor) -> Tensor:
        with self._linears.used():
            return hidden_states(self._policy.backbone, ids.to(self._device), positions.to(self._device), self._cache)

    def _draw(self, hidden: Tensor, slots: range) -> None:
        """One token for each of the slots, from hidden states [len(slots), d]."""
        logits = self._linears.head(hidden).float()
        if self._temperature == 0:
            drawn = logits.argmax(dim=1)
            logprobs = torch.zeros(len(drawn))
        else:
            uniforms = [self._active[s].uniforms[len(self._active[s].ids)] for s in slots]
            uniforms_b = torch.tensor(uniforms, dtype=torch.float64, device=self._device)
            drawn, logprobs = draw(logits, uniforms_b, self._temperature)
        tokens = drawn.cpu()
        self._last_ids[slots.start : slots.stop] = tokens
        for slot, token, logprob in zip(slots, tokens.tolist(), logprobs.tolist(), strict=True):
            sample = self._active[slot]
            sample.ids.append(token)
            sample.logprobs.append(logprob)
            sample.finished = token == self._policy.template.end_id

    def _release(self) -> list[Sample]:
        """Takes ended samples out of their slots."""
        over = [s.finished or len(s.ids) >= self._max_tokens for s in self._active]
        if not any(over):
            return []
        ended = [sample for sample, done in zip(self._active, over, strict=True) if done]
        left = self._cache.release(over)
        self._active = [self._active[slot] for slot in left]
        self._last_ids[: len(left)] = self._last_ids[left]
        self._lengths[: len(left)] = self._lengths[left]
        return ended


def sample_all(
    policy: Policy,
    requests: Sequence[Request],
    *,
    max_response_tokens: int,
    temperature: float = 1.0,
    num_slots: int = 128,
    advance: Callable[[int], None] | None = None,
) -> list[list[Sample]]:
    """All samples of all requests, [request][k]. `advance` is told how many responses have just ended.

    Requests are taken in the order of their prompts' lengths, so that those side by side are of like lengths.
    """
    sampler = Sampler(
        policy,
        num_slots=max(num_slots, max(request.num_samples for request in requests)),
        max_response_tokens=max_response_tokens,
        temperature=temperature,
    )
    order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt_ids), i))
    for i in order:
        sampler.submit(requests[i])
    samples: list[list[Sample]] = [[] for _ in requests]
    while sampler.busy:
        ended = sampler.step()
        for sample in ended:
            samples[order[sample.request]].append(sample)
        if advance and ended:
            advance(len(ended))
    return [sorted(of_request, key=lambda sample: sample.k) for of_request in samples]

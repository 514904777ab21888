"""Sampling in slots: requests are submitted, every step adds one token to each active slot, finished slots leave.

A prompt is prefilled once for all its samples, and the active slots alone are computed, so that the work of a step is
proportional to what is still being written. Which token a row draws depends on
its own key, its place in the response and its probabilities, and on nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accord.algorithms.sampling import draw, keep_nucleus
from accord.engine.cache import SlotCache
from accord.engine.readings import readings_of
from accord.engine.sampling import Request, Sample
from accord.engine.vectors import Vectors
from accord.models.compute import device_of
from accord.models.packed import PackedLinears
from accord.models.policy import Policy, hidden_states
from accord.seeds import derive_seed
from accord.text.prompts import PromptBatch

__all__ = ["Request", "Sample", "Sampler"]


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
        max_read_tokens: int | None = None,
    ) -> None:
        """max_read_tokens: of prompts that a step reads, so that responses are written on in between; a longer prompt
        is read in pieces. None: as many as there is room for."""
        self._policy, self._temperature, self._max_tokens = policy, temperature, max_response_tokens
        self._max_read_tokens = max_read_tokens
        self._device = device_of(policy.module)
        self._cache = SlotCache(policy.module)
        self._linears = PackedLinears(policy.module.base_model, policy.head)
        self._num_slots = num_slots
        self._waiting: deque[tuple[int, Request]] = deque()
        self._unread: deque[tuple[int, Request]] = deque()  # for whose samples slots are kept free, the shortest first
        self._reading: _Reading | None = None  # the first of the unread
        self._active: list[Sample] = []
        self._cancelled: set[int] = set()
        self._last_ids = torch.zeros(num_slots, dtype=torch.int64)
        self._lengths = torch.zeros(num_slots, dtype=torch.int64)

    def submit(self, request: Request, number: int = 0) -> None:
        """Queues a request. number: by which its samples can be told, and it can be cancelled."""
        assert 0 < request.num_samples <= self._num_slots
        self._waiting.append((number, request))

    def cancel(self, number: int) -> None:
        """Ends the samples of a request; those that are being written with their next token."""
        self._waiting = deque(one for one in self._waiting if one[0] != number)
        if self._reading is not None and self._unread[0][0] == number:
            self._reading = None
        self._unread = deque(one for one in self._unread if one[0] != number)
        if any(sample.request == number for sample in self._active):
            self._cancelled.add(number)

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
        return bool(self._active or self._waiting or self._unread)

    @property
    def active(self) -> tuple[Sample, ...]:
        """The samples that are being written."""
        return tuple(self._active)

    def _admit(self) -> list[Sample]:
        """Reads the prompts of admitted requests, as many as a step may, and draws a first token for their samples."""
        if not self._unread:
            self._unread = self._next_requests()
        if not self._unread:
            return []
        left = math.inf if self._max_read_tokens is None else self._max_read_tokens
        if len(self._unread[0][1].prompt_ids) > left:
            return self._read_piece(int(left))
        admitted: list[tuple[int, Request]] = []
        while self._unread and (not admitted or len(self._unread[0][1].prompt_ids) <= left):
            admitted.append(self._unread.popleft())
            left -= len(admitted[-1][1].prompt_ids)
        first = len(self._active)
        prompt_of_slot: list[int] = []
        for at, (number, request) in enumerate(admitted):
            self._begin(number, request)
            prompt_of_slot += [at] * request.num_samples
        batch = PromptBatch.of([request.prompt_ids for _, request in admitted])
        self._cache.begin_prefill(batch, prompt_of_slot)
        hidden = self._hidden(batch.ids[None], batch.positions[None])
        last = torch.tensor([batch.starts[i] + batch.lengths[i] - 1 for i in prompt_of_slot])
        self._draw(hidden[last.to(self._device)], range(first, len(self._active)))
        return self._release()

    def _read_piece(self, num: int) -> list[Sample]:
        """Reads the next `num` tokens of the first unread prompt; with its last ones, its samples begin."""
        number, request = self._unread[0]
        ids = request.prompt_ids
        if self._reading is None:
            self._reading = _Reading(self._cache.new_prompt(len(ids)))
        start, end = self._reading.done, min(self._reading.done + num, len(ids))
        self._cache.begin_piece(self._reading.prompt, start, end)
        hidden = self._hidden(torch.tensor([ids[start:end]]), torch.arange(start, end)[None])
        self._reading.done = end
        if end < len(ids):
            return []
        self._unread.popleft()
        self._cache.add_prompt(self._reading.prompt, len(ids), request.num_samples)
        self._reading, first = None, len(self._active)
        self._begin(number, request)
        self._draw(hidden[[-1] * request.num_samples], range(first, len(self._active)))
        return self._release()

    def _begin(self, number: int, request: Request) -> None:
        """Gives a request's samples the next slots."""
        for k in range(request.num_samples):
            self._lengths[len(self._active)] = len(request.prompt_ids)
            generator = np.random.Generator(np.random.Philox(key=derive_seed(*request.key, k)))
            uniforms = generator.random(request.max_response_tokens or self._max_tokens)
            temperature = self._temperature if request.temperature is None else request.temperature
            sample = Sample(number, k, uniforms, temperature, top_p=request.top_p, num_top=request.num_top)
            self._active.append(sample)

    def _next_requests(self) -> deque[tuple[int, Request]]:
        """Those that have waited longest, as many as fit, the shortest first, when enough slots are free to make
        reading them worth its cost. Whoever comes later waits until all of them are read."""
        free = self._num_slots - len(self._active)
        if not self._waiting or (self._active and free < max(self._num_slots // 4, self._waiting[0][1].num_samples)):
            return deque()
        fitting: list[tuple[int, Request]] = []
        while self._waiting and self._waiting[0][1].num_samples <= free:
            fitting.append(self._waiting.popleft())
            free -= fitting[-1][1].num_samples
        return deque(sorted(fitting, key=lambda one: len(one[1].prompt_ids)))

    def _hidden(self, ids: Tensor, positions: Tensor) -> Tensor:
        with self._linears.used():
            return hidden_states(self._policy.backbone, ids.to(self._device), positions.to(self._device), self._cache)

    def _draw(self, hidden: Tensor, slots: range) -> None:
        """One token for each of the slots, from hidden states [len(slots), d]."""
        logits = self._linears.head(hidden).float()
        samples = self._active[slots.start : slots.stop]
        read = [row for row, sample in enumerate(samples) if sample.num_top is not None]
        own_logprobs = logits[read].log_softmax(dim=1) if read else None  # what is drawn from is overwritten
        temperatures = {sample.temperature for sample in samples}
        for temperature in temperatures:
            if len(temperatures) == 1:
                rows, own = list(range(len(samples))), logits
            else:
                rows = [row for row, sample in enumerate(samples) if sample.temperature == temperature]
                own = logits[rows]
            tokens, logprobs = self._drawn(own, [samples[row] for row in rows], temperature)
            for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
                sample = samples[row]
                sample.ids.append(token)
                sample.logprobs.append(logprob)
                sample.finished = token == self._policy.template.end_id
        if own_logprobs is not None:
            readers = [samples[row] for row in read]
            found = readings_of(own_logprobs, [s.ids[-1] for s in readers], [s.num_top or 0 for s in readers])
            for sample, reading in zip(readers, found, strict=True):
                sample.readings.append(reading)
        self._last_ids[slots.start : slots.stop] = torch.tensor([sample.ids[-1] for sample in samples])

    def _drawn(self, logits: Tensor, samples: list[Sample], temperature: float) -> tuple[list[int], list[float]]:
        """The next token of each of the samples, and its logprob."""
        if temperature == 0:
            return logits.argmax(dim=1).tolist(), [0.0] * len(samples)
        if narrow := [row for row, sample in enumerate(samples) if sample.top_p < 1]:
            top_p = torch.tensor([samples[row].top_p for row in narrow], dtype=torch.float64, device=self._device)
            own = logits if len(narrow) == len(samples) else logits[narrow]
            keep_nucleus(own, top_p, temperature)
            if own is not logits:
                logits[narrow] = own
        uniforms = [sample.uniforms[len(sample.ids)] for sample in samples]
        uniforms_b = torch.tensor(uniforms, dtype=torch.float64, device=self._device)
        drawn, logprobs = draw(logits, uniforms_b, temperature)
        return drawn.tolist(), logprobs.tolist()

    def _release(self) -> list[Sample]:
        """Takes ended samples out of their slots."""
        over = [s.finished or len(s.ids) >= len(s.uniforms) or s.request in self._cancelled for s in self._active]
        if not any(over):
            return []
        self._cancelled.clear()
        ended = [sample for sample, done in zip(self._active, over, strict=True) if done]
        left = self._cache.release(over)
        self._active = [self._active[slot] for slot in left]
        self._last_ids[: len(left)] = self._last_ids[left]
        self._lengths[: len(left)] = self._lengths[left]
        return ended


@dataclass(slots=True)
class _Reading:
    """A prompt that is read in pieces. done: tokens so far."""

    prompt: Vectors
    done: int = 0

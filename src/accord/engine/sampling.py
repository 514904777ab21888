"""What is asked of whoever writes responses, and what comes back, wherever they are computed.

`accord.engine.sampler` writes with torch, `accord.engine.vllm_engine` with vLLM. Whoever samples speaks to the two
Protocols here: an engine has the weights, a sampling the responses that are on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from accord.engine.group import current, gather_json
from accord.engine.readings import Reading, Text
from accord.text.template import Template

COLDEST = 1e-3  # logits divided by less would be no numbers any more


@dataclass(frozen=True, slots=True)
class Request:
    """K samples of one prompt. `key`: what the draws are seeded by, for example (seed, "ppo", 3, prompt id).
    max_response_tokens, temperature: in place of the sampler's. top_p: tokens outside the nucleus are not drawn.
    num_top: each token is read (`accord.engine.readings`), with so many of the most probable ones; None: it is not."""

    prompt_ids: tuple[int, ...]
    num_samples: int
    key: tuple[int | str, ...]
    max_response_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    num_top: int | None = None


@dataclass(slots=True)
class Sample:
    """One response: tokens, end of turn included when it was `finished`, and the logprob each was drawn with. readings:
    of each token, where `num_top` asks for them."""

    request: int
    k: int
    uniforms: np.ndarray  # as many as it may have tokens
    temperature: float
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False
    top_p: float = 1.0
    num_top: int | None = None
    readings: list[Reading] = field(default_factory=list)


class Sampling(Protocol):
    """Responses on their way: each step adds tokens to those that are being written."""

    def submit(self, request: Request, number: int = 0) -> None:
        """Queues a request. number: by which its samples can be told, and it can be cancelled."""
        ...

    def cancel(self, number: int) -> None:
        """Ends the samples of a request."""
        ...

    def step(self) -> list[Sample]:
        """Writes on, and gives the samples that ended."""
        ...

    @property
    def busy(self) -> bool: ...

    @property
    def active(self) -> Sequence[Sample]:
        """The samples that are being written."""
        ...


class Engine(Protocol):
    """A policy's weights where they are computed with: they write responses and read tokens."""

    @property
    def template(self) -> Template: ...

    @property
    def context(self) -> int | None:
        """How many tokens can be read and written in all; None when nothing says."""
        ...

    @property
    def num_vocabulary(self) -> int: ...

    @property
    def coldest(self) -> float:
        """The lowest temperature above 0 at which tokens can be drawn."""
        ...

    def sampling(
        self,
        *,
        num_slots: int,
        max_response_tokens: int,
        temperature: float = 1.0,
        max_read_tokens: int | None = None,
    ) -> Sampling:
        """Anew, with nothing on its way; whatever another one was writing is dropped. num_slots, max_read_tokens: as
        `Sampler` has them; an engine with a scheduler of its own takes what that was opened with."""
        ...

    def read(self, texts: Sequence[Text]) -> list[list[Reading]]:
        """As `accord.engine.readings.read`."""
        ...

    def read_in_pieces(self, text: Text, num_tokens: int) -> Iterator[list[Reading]]:
        """As `accord.engine.pieces.read_in_pieces`."""
        ...


def drain(
    sampling: Sampling, requests: Sequence[Request], advance: Callable[[int], None] | None = None
) -> list[list[Sample]]:
    """All samples of all requests, [request][k]. `advance` is told how many responses have just ended.

    Requests are taken in the order of their prompts' lengths, so that those side by side are of like lengths.
    """
    order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt_ids), i))
    for i in order:
        sampling.submit(requests[i], i)
    samples: list[list[Sample]] = [[] for _ in requests]
    while sampling.busy:
        ended = sampling.step()
        for sample in ended:
            samples[sample.request].append(sample)
        if advance and ended:
            advance(len(ended))
    return [sorted(of_request, key=lambda sample: sample.k) for of_request in samples]


def together(own: list[list[Sample]], parts: Sequence[Sequence[int]]) -> list[list[Sample]]:
    """The samples of all requests, from those that each process of the group has drawn. own: [request][k], of the
    requests that are this process's. parts: which requests are whose. They come without what they were read with."""
    if current().size == 1:
        return own
    flat = [sample for of_request in own for sample in of_request]
    told = gather_json([[len(of_request) for of_request in own], [[len(s.ids), s.finished] for s in flat]])
    ids = current().gather(torch.tensor([token for sample in flat for token in sample.ids], dtype=torch.int64))
    logprobs = current().gather(torch.tensor([one for s in flat for one in s.logprobs], dtype=torch.float64))
    samples: list[list[Sample]] = [[] for part in parts for _ in part]
    for part, (counts, ends), part_ids, part_logprobs in zip(parts, told, ids, logprobs, strict=True):
        tokens, drawn, at = part_ids.tolist(), part_logprobs.tolist(), 0
        each = iter(ends)
        for request, count in zip(part, counts, strict=True):
            for k in range(count):
                length, finished = next(each)
                one = slice(at, at + length)
                samples[request].append(Sample(request, k, np.empty(0), 1.0, tokens[one], drawn[one], finished))
                at += length
    return samples

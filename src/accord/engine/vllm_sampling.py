"""Responses that vLLM writes, as `accord.engine.sampling` has them. vLLM itself is behind the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from accord.engine.engines import COLDEST_VLLM
from accord.engine.readings import Reading
from accord.engine.sampling import Request, Sample


class Vllm(Protocol):
    """What a `VllmEngine` does for those who write with it."""

    @property
    def end_id(self) -> int: ...

    def params(self, request: Request, k: int, most: int, temperature: float) -> Any: ...

    def tells(self, request: Request, temperature: float) -> bool: ...

    def begin(self, ids: Sequence[int], params: Any, sink: Callable[[Any], None]) -> str: ...

    def abort(self, names: Sequence[str]) -> None: ...

    def turn(self) -> None: ...


class VllmSampling:
    """Responses that vLLM writes. Samples have no `logprobs` where the engine tells others (`VllmEngine.told`)."""

    def __init__(self, engine: Vllm, max_response_tokens: int, temperature: float) -> None:
        self._engine, self._max_tokens, self._temperature = engine, max_response_tokens, temperature
        self._writing: dict[str, Sample] = {}
        self._ended: list[Sample] = []

    def submit(self, request: Request, number: int = 0) -> None:
        temperature = self._temperature if request.temperature is None else request.temperature
        assert temperature == 0 or temperature >= COLDEST_VLLM
        most = request.max_response_tokens or self._max_tokens
        tells = self._engine.tells(request, temperature)
        for k in range(request.num_samples):
            sample = Sample(number, k, np.empty(0), temperature, top_p=request.top_p, num_top=request.num_top)
            params = self._engine.params(request, k, most, temperature)

            def take(output: Any, sample: Sample = sample) -> None:
                self._take(output, sample, tells)

            name = self._engine.begin(request.prompt_ids, params, take)
            self._writing[name] = sample

    def cancel(self, number: int) -> None:
        """They are not returned."""
        names = [name for name, sample in self._writing.items() if sample.request == number]
        self._engine.abort(names)
        for name in names:
            del self._writing[name]

    def step(self) -> list[Sample]:
        if self._writing and not self._ended:
            self._engine.turn()
        ended, self._ended = self._ended, []
        return ended

    @property
    def busy(self) -> bool:
        return bool(self._writing or self._ended)

    @property
    def active(self) -> tuple[Sample, ...]:
        return tuple(sample for sample in self._writing.values() if sample.ids)

    def _take(self, output: Any, sample: Sample, tells: bool) -> None:
        """What is new of a sample."""
        (new,) = output.outputs
        sample.ids += new.token_ids
        if sample.temperature == 0:
            sample.logprobs += [0.0] * len(new.token_ids)
        elif tells:
            sample.logprobs += [of[token].logprob for token, of in zip(new.token_ids, new.logprobs, strict=True)]
        if sample.num_top is not None:
            sample.readings += [
                reading_of(token, of, sample.num_top) for token, of in zip(new.token_ids, new.logprobs, strict=True)
            ]
        if output.finished:
            del self._writing[output.request_id]
            sample.finished = sample.ids[-1:] == [self._engine.end_id]
            self._ended.append(sample)


def reading_of(token: int, found: Mapping[int, Any], num_top: int) -> Reading:
    """found: the token's logprob and those of the most probable, with their ranks from 1 on."""
    best = sorted((one.rank, t, one.logprob) for t, one in found.items() if one.rank <= num_top)
    return Reading(token, found[token].logprob, tuple((t, logprob) for _, t, logprob in best[:num_top]))

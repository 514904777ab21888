"""Completions of plain texts, and the log-probabilities of given ones, which evaluations ask for."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field, field_validator

from accord.serve.asking import answers, as_events, unless_gone, usage
from accord.serve.errors import Refusal
from accord.serve.logprobs import TextLogprobs, joined
from accord.serve.requests import MOST_TOP, SamplingRequest, whole_text
from accord.serve.served import Served
from accord.serve.worker import Piece, PromptRead, Question, Worker

_MOST_CHOICES = 2048

Given = str | tuple[int, ...]


class CompletionRequest(SamplingRequest):
    """prompt: texts, or token ids, which are taken as they are. add_special_tokens: whether a text gets what the
    tokenizer puts around texts. echo: the answer begins with the prompt."""

    prompt: list[Given]
    max_tokens: int | None = Field(default=None, ge=0)
    max_completion_tokens: int | None = Field(default=None, ge=0)
    logprobs: int | None = Field(default=None, ge=0, le=MOST_TOP)
    echo: bool | None = None
    add_special_tokens: bool = True
    best_of: int | None = None
    suffix: str | None = None

    @field_validator("prompt", mode="plain")
    @classmethod
    def _prompts(cls, value: Any) -> list[Given]:
        if isinstance(value, str) or _are_ids(value):
            value = [value]
        if not (isinstance(value, list) and value and all(isinstance(one, str) or _are_ids(one) for one in value)):
            raise ValueError("a text, a list of texts, a list of token ids, or a list of such lists is wanted")
        return [whole_text(one) if isinstance(one, str) else tuple(one) for one in value]

    @property
    def limit(self) -> int:
        wanted = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        return 16 if wanted is None else wanted

    def check(self) -> None:
        super().check()
        if self.limit == 0 and not self.echo:
            raise Refusal("max_tokens: 0 needs echo: true, or there is nothing to answer", "max_tokens")
        if self.best_of not in (None, self.num_samples):
            raise Refusal("best_of is not supported: ask for n, and choose", "best_of")
        if self.suffix:
            raise Refusal("suffix is not supported: the model writes what follows a text", "suffix")
        if (num := len(self.prompt) * self.num_samples) > _MOST_CHOICES:
            raise Refusal(f"{num} choices are asked for at once, and at most {_MOST_CHOICES} are made", "prompt")


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int and one >= 0 for one in value)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One prompt of a request. text: what an echo gives."""

    question: Question
    text: str


def completion_routes(served: Served) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions")
    async def completions(asked: CompletionRequest, request: Request) -> Response:
        worker = served.worker(asked.model)
        if served.best_of > 1:
            what = "this server answers with the best of several, which is chosen in conversations alone"
            raise Refusal(f"{what}: ask /v1/chat/completions", status=400)
        prompts = await asyncio.to_thread(_asked, worker, asked)
        answer = _Answer(asked, worker, prompts)
        if asked.stream:
            return as_events(answer.events())
        return await unless_gone(request, answer.whole())

    return router


def _asked(worker: Worker, asked: CompletionRequest) -> list[_Asked]:
    """Raises Refusal."""
    asked.check()
    found = []
    for given in asked.prompt:
        ids = worker.plain_ids(given, marked=asked.add_special_tokens) if isinstance(given, str) else given
        if not ids:
            raise Refusal("the prompt has no tokens", "prompt")
        if (largest := max(ids)) >= worker.num_vocabulary:
            what = f"the prompt holds the token {largest}, and the model knows those below {worker.num_vocabulary}"
            raise Refusal(what, "prompt")
        text = given if isinstance(given, str) else worker.template.plain_text(given) if asked.echo else ""
        question = asked.question(
            worker,
            ids,
            max_tokens=asked.limit,
            num_top=asked.logprobs,
            read_prompt=bool(asked.echo) and asked.logprobs is not None,
            param="prompt",
        )
        found.append(_Asked(question, text))
    return found


class _Answer:
    """A completion in OpenAI's older shape."""

    def __init__(self, asked: CompletionRequest, worker: Worker, prompts: list[_Asked]) -> None:
        self._asked, self._worker, self._prompts = asked, worker, prompts
        self._head = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
        }
        self._num_tokens: dict[int, int] = {}
        self._logprobs = [TextLogprobs(worker.token_bytes) for _ in range(len(prompts) * asked.num_samples)]

    async def whole(self) -> dict[str, Any]:
        found: dict[int, list[dict[str, Any]]] = {}
        async for choice in self._choices():
            found.setdefault(choice["index"], []).append(choice)
        choices = [
            {
                "index": index,
                "text": "".join(part["text"] for part in parts),
                "logprobs": joined([part["logprobs"] for part in parts]) if self._asked.logprobs is not None else None,
                "finish_reason": parts[-1]["finish_reason"],
            }
            for index, parts in sorted(found.items())
        ]
        return {**self._head, "choices": choices, "usage": self._usage}

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        async for choice in self._choices():
            yield {**self._head, "choices": [choice]}
        if self._asked.wants_usage:
            yield {**self._head, "choices": [], "usage": self._usage}

    async def _choices(self) -> AsyncIterator[dict[str, Any]]:
        """Of all choices, part after part. An echo is a part of its own."""
        num = self._asked.num_samples
        if self._asked.echo and self._asked.logprobs is None:
            for index in range(len(self._logprobs)):
                yield self._part(index, self._prompts[index // num].text, None)
        async for place, piece in answers(self._worker, [one.question for one in self._prompts]):
            if isinstance(piece, PromptRead):
                ids, text = self._prompts[place].question.prompt_ids, self._prompts[place].text
                for index in range(place * num, (place + 1) * num):
                    logprobs = self._logprobs[index].of_prompt(ids, piece.readings, text)
                    yield self._part(index, text, logprobs)
            else:
                index = place * num + piece.k
                yield self._part(index, piece.text, self._of_response(index, piece), piece.finish)
                self._num_tokens[index] = piece.num_tokens

    def _of_response(self, index: int, piece: Piece) -> dict[str, Any] | None:
        return self._logprobs[index].of_response(piece.readings) if self._asked.logprobs is not None else None

    def _part(
        self, index: int, text: str, logprobs: dict[str, Any] | None, finish: str | None = None
    ) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    @property
    def _usage(self) -> dict[str, int]:
        num_prompt = sum(len(one.question.prompt_ids) for one in self._prompts)
        return usage(num_prompt, sum(self._num_tokens.values()))

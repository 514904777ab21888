"""Chat completions."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from accord.engine.readings import Reading
from accord.errors import UserError
from accord.serve.asking import answers, as_events, unless_gone, usage
from accord.serve.best import best_answers, check_draws
from accord.serve.errors import Refusal
from accord.serve.logprobs import chat_logprobs
from accord.serve.requests import MOST_TOP, ChatMessage, SamplingRequest, prompt_of
from accord.serve.served import Served
from accord.serve.worker import DEFAULT_TOKENS, Piece, PromptRead, Question, Worker
from accord.types import Prompt

_Pieces = AsyncIterator[tuple[int, Piece | PromptRead]] | AsyncIterator[tuple[int, Piece]]


class ChatRequest(SamplingRequest):
    """continue_final_message: the last message is the assistant's and is gone on with."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_TOP)
    response_format: Any = None
    continue_final_message: bool = False

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS

    def check(self) -> None:
        super().check()
        if self.top_logprobs is not None and not self.logprobs:
            raise Refusal("top_logprobs needs logprobs: true", "top_logprobs")
        form = self.response_format
        if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
            what = "the model writes text, and no other response_format is supported: leave it out"
            raise Refusal(what, "response_format")


def chat_routes(served: Served) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        worker = served.worker(asked.model)
        check_draws(asked.num_samples, served.best_of)
        prompt, question = await asyncio.to_thread(_question, worker, asked)
        reward = served.best_by
        pieces: _Pieces = (
            answers(worker, [question])
            if reward is None
            else best_answers(worker, reward, question, prompt, served.best_of)
        )
        answer = _Answer(asked, worker, len(question.prompt_ids))
        if asked.stream:
            return as_events(answer.events(pieces))
        return await unless_gone(request, answer.whole(pieces))

    return router


def _question(worker: Worker, asked: ChatRequest) -> tuple[Prompt, Question]:
    """Raises Refusal."""
    asked.check()
    prompt = prompt_of(asked.messages, go_on=asked.continue_final_message)
    if found := worker.template.control_token(prompt):
        raise Refusal(f"a message holds {found!r}, which begins or ends turns: take it out", "messages")
    try:
        ids = worker.prompt_ids(prompt)
    except UserError as error:
        raise Refusal(error.what, "messages") from error
    num_top = (asked.top_logprobs or 0) if asked.logprobs else None
    return prompt, asked.question(worker, ids, max_tokens=asked.limit, num_top=num_top, param="messages")


class _Answer:
    """A completion in OpenAI's shape."""

    def __init__(self, asked: ChatRequest, worker: Worker, num_prompt: int) -> None:
        self._asked, self._worker, self._num_prompt = asked, worker, num_prompt
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}
        self._num_tokens: dict[int, int] = {}

    async def whole(self, pieces: _Pieces) -> dict[str, Any]:
        texts: dict[int, list[str]] = {}
        readings: dict[int, list[Reading]] = {}
        finish: dict[int, str | None] = {}
        async for _, piece in pieces:
            assert isinstance(piece, Piece)
            texts.setdefault(piece.k, []).append(piece.text)
            readings.setdefault(piece.k, []).extend(piece.readings)
            finish[piece.k], self._num_tokens[piece.k] = piece.finish, piece.num_tokens
        choices = [
            {
                "index": k,
                "message": {"role": "assistant", "content": "".join(texts[k])},
                "logprobs": self._logprobs(readings[k]),
                "finish_reason": finish[k],
            }
            for k in sorted(texts)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage}

    async def events(self, pieces: _Pieces) -> AsyncIterator[dict[str, Any]]:
        """The role of each response, its pieces, and its end."""
        for k in range(self._asked.num_samples):
            yield self._event([self._choice(k, {"role": "assistant", "content": ""})])
        async for _, piece in pieces:
            assert isinstance(piece, Piece)
            self._num_tokens[piece.k] = piece.num_tokens
            if piece.text or piece.readings:
                yield self._event([self._choice(piece.k, {"content": piece.text}, piece.readings)])
            if piece.finish:
                yield self._event([self._choice(piece.k, {}, finish=piece.finish)])
        if self._asked.wants_usage:
            yield self._event([], usage=self._usage)

    def _choice(
        self, k: int, delta: dict[str, str], readings: tuple[Reading, ...] = (), finish: str | None = None
    ) -> dict[str, Any]:
        logprobs = self._logprobs(readings) if readings else None
        return {"index": k, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    def _logprobs(self, readings: list[Reading] | tuple[Reading, ...]) -> dict[str, Any] | None:
        return chat_logprobs(readings, self._worker.token_bytes) if self._asked.logprobs else None

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices, **more}

    @property
    def _usage(self) -> dict[str, int]:
        return usage(self._num_prompt, sum(self._num_tokens.values()))

"""The addresses that OpenAI's clients use, and errors in their shape."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from accord.errors import UserError, did_you_mean
from accord.ports import LOOPBACK, TOO_LONG, counted, is_too_long
from accord.serve.messages import ChatRequest, Refusal
from accord.serve.worker import DEFAULT_TOKENS, Failed, Piece, Question, Worker

_COLDEST = 1e-3
_LOOK = 1.0  # seconds between looks at whether the client is still there


def create_app(workers: Mapping[str, Worker], *, hosts: Sequence[str] = LOOPBACK) -> FastAPI:
    """workers: policies by the names that clients call them. hosts: the names under which it may be asked."""
    app = FastAPI(title="Accord", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(_Limit)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    created = int(time.time())

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        rows = [{"id": name, "object": "model", "created": created, "owned_by": "accord"} for name in workers]
        return {"object": "list", "data": rows}

    @app.post("/v1/chat/completions")
    async def chat(asked: ChatRequest, request: Request) -> Response:
        if asked.model not in workers:
            what = f"there is no model {asked.model!r}. {did_you_mean(asked.model, workers)}"
            raise Refusal(what, "model", 404)
        worker = workers[asked.model]
        question, num_prompt = await asyncio.to_thread(_question, worker, asked)
        answer = _Answer(asked, num_prompt)
        pieces = _pieces(worker, question)
        if asked.stream:
            return StreamingResponse(answer.events(pieces), media_type="text/event-stream")
        return await _unless_gone(request, answer.whole(pieces))

    return app


class _Limit:
    """Refuses bodies that are too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_too_long(Headers(scope=scope)):
            await JSONResponse(_error(Refusal(TOO_LONG)), 413)(scope, receive, send)
            return
        await self._app(scope, counted(receive), send)


async def _unless_gone(request: Request, whole: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """The answer; nobody computes on when the client has left."""
    work = asyncio.ensure_future(whole)
    while not work.done():
        await asyncio.wait([work], timeout=_LOOK)
        if not work.done() and await request.is_disconnected():
            work.cancel()
            return Response(status_code=499)
    return JSONResponse(work.result())


def _question(worker: Worker, asked: ChatRequest) -> tuple[Question, int]:
    """And how many tokens the prompt has. Raises Refusal."""
    prompt = asked.prompt()
    if found := worker.policy.template.control_token(prompt):
        raise Refusal(f"a message holds {found!r}, which begins or ends turns: take it out", "messages")
    try:
        num = worker.num_tokens(prompt)
    except UserError as error:
        raise Refusal(error.what, "messages") from error
    wanted = asked.limit or DEFAULT_TOKENS
    if worker.context is not None:
        if num >= worker.context:
            what = f"the messages have {num} tokens, and the model reads and writes at most {worker.context}"
            raise Refusal(what, "messages")
        wanted = min(wanted, worker.context - num)
    temperature = 1.0 if asked.temperature is None else asked.temperature
    if temperature < _COLDEST:  # logits divided by it would be no numbers any more
        temperature = 0.0
    seed = secrets.randbits(62) if asked.seed is None else asked.seed
    return Question(prompt, asked.n or 1, wanted, temperature, seed, tuple(asked.stop)), num


async def _pieces(worker: Worker, question: Question) -> AsyncIterator[Piece]:
    """All pieces of all responses. One who leaves early cancels them. Raises Refusal when the model fails."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Piece | Failed]()

    def deliver(piece: Piece | Failed) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, piece)

    number, left = worker.ask(question, deliver), question.num_samples
    try:
        while left:
            piece = await queue.get()
            if isinstance(piece, Failed):
                raise Refusal(str(piece), status=500)
            left -= piece.finish is not None
            yield piece
    finally:
        worker.cancel(number)


class _Answer:
    """A completion in OpenAI's shape."""

    def __init__(self, asked: ChatRequest, num_prompt: int) -> None:
        self._asked, self._num_prompt = asked, num_prompt
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": asked.model}
        self._num_tokens: dict[int, int] = {}

    async def whole(self, pieces: AsyncIterator[Piece]) -> dict[str, Any]:
        texts: dict[int, list[str]] = {}
        finish: dict[int, str | None] = {}
        async for piece in pieces:
            texts.setdefault(piece.k, []).append(piece.text)
            finish[piece.k], self._num_tokens[piece.k] = piece.finish, piece.num_tokens
        choices = [
            {
                "index": k,
                "message": {"role": "assistant", "content": "".join(texts[k])},
                "logprobs": None,
                "finish_reason": finish[k],
            }
            for k in sorted(texts)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage}

    async def events(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[str]:
        """Server-sent events: the role of each response, its pieces, its end, and [DONE]."""
        for k in range(self._asked.n or 1):
            yield self._event([self._choice(k, {"role": "assistant", "content": ""}, None)])
        try:
            async for piece in pieces:
                self._num_tokens[piece.k] = piece.num_tokens
                if piece.text:
                    yield self._event([self._choice(piece.k, {"content": piece.text}, None)])
                if piece.finish:
                    yield self._event([self._choice(piece.k, {}, piece.finish)])
        except Refusal as refusal:  # the status has been sent: what went wrong is an event
            yield f"data: {json.dumps(_error(refusal))}\n\n"
            return
        if self._asked.stream_options and self._asked.stream_options.include_usage:
            yield self._event([], usage=self._usage)
        yield "data: [DONE]\n\n"

    @staticmethod
    def _choice(k: int, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
        return {"index": k, "delta": delta, "logprobs": None, "finish_reason": finish}

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> str:
        content = {**self._head, "object": "chat.completion.chunk", "choices": choices, **more}
        return f"data: {json.dumps(content)}\n\n"

    @property
    def _usage(self) -> dict[str, int]:
        num = sum(self._num_tokens.values())
        total = self._num_prompt + num
        return {"prompt_tokens": self._num_prompt, "completion_tokens": num, "total_tokens": total}


def _error(refusal: Refusal) -> dict[str, Any]:
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    code = "model_not_found" if refusal.status == 404 else None
    return {"error": {"message": refusal.what, "type": kind, "param": refusal.param, "code": code}}


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(_error(error), error.status)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"][1:])
    return _refused(request, Refusal(f"{place or 'body'}: {problem['msg']}", place or None))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = f"there is no {request.url.path} here" if error.status_code == 404 else error.detail
    return JSONResponse(_error(Refusal(what)), error.status_code)

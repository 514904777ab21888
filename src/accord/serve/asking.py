"""From a request to the workers' threads and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from accord.serve.errors import Refusal, body_of
from accord.serve.reward_worker import RewardWorker
from accord.serve.worker import Failed, Piece, PromptRead, Question, Worker
from accord.types import Prompt
from accord.types import Response as Answered

_LOOK = 1.0  # seconds between looks at whether the client is still there


async def answers(worker: Worker, questions: Sequence[Question]) -> AsyncIterator[tuple[int, Piece | PromptRead]]:
    """All pieces of the answers to all questions, each with its question's place. One who leaves early cancels them.
    Raises Refusal when the model fails."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Piece | PromptRead | Failed]]()

    def ask(place: int, question: Question) -> int:
        def deliver(piece: Piece | PromptRead | Failed) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, (place, piece))

        return worker.ask(question, deliver)

    left = sum(question.num_samples for question in questions)
    numbers = [ask(place, question) for place, question in enumerate(questions)]
    try:
        while left:
            place, piece = await queue.get()
            if isinstance(piece, Failed):
                raise Refusal(str(piece), status=500)
            left -= isinstance(piece, Piece) and piece.finish is not None
            yield place, piece
    finally:
        for number in numbers:
            worker.cancel(number)


async def scores(reward: RewardWorker, pairs: Sequence[tuple[Prompt, Answered]]) -> list[float]:
    """Of each pair, in order. Of one who leaves early, or of whose pairs one fails, no more are begun. Raises Refusal
    when the reward fails."""
    asked = [reward.score(*pair) for pair in pairs]
    try:
        return await asyncio.gather(*(asyncio.wrap_future(one) for one in asked))
    finally:
        for one in asked:
            one.cancel()


async def unless_gone(request: Request, whole: Coroutine[Any, Any, dict[str, Any]]) -> Response:
    """The answer; nobody computes on when the client has left."""
    work = asyncio.ensure_future(whole)
    while not work.done():
        await asyncio.wait([work], timeout=_LOOK)
        if not work.done() and await request.is_disconnected():
            work.cancel()
            return Response(status_code=499)
    return JSONResponse(work.result())


def as_events(contents: AsyncIterator[dict[str, Any]]) -> Response:
    """Server-sent events, and [DONE]."""

    async def events() -> AsyncIterator[str]:
        try:
            async for content in contents:
                yield f"data: {json.dumps(content)}\n\n"
        except Refusal as refusal:  # the status has been sent: what went wrong is an event
            yield f"data: {json.dumps(body_of(refusal))}\n\n"
            return
        yield "data: [DONE]\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def usage(num_prompt: int, num_written: int) -> dict[str, int]:
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_written,
        "total_tokens": num_prompt + num_written,
    }

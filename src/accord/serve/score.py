"""Scores of conversations by rewards."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response as HttpResponse
from pydantic import Field

from accord.serve.asking import scores, unless_gone
from accord.serve.errors import Refusal
from accord.serve.requests import ChatMessage, Lenient, prompt_of
from accord.serve.reward_worker import RewardWorker
from accord.serve.served import Served
from accord.types import Prompt, Response


class Conversation(Lenient):
    """The last message is the assistant's: that is scored."""

    messages: list[ChatMessage] = Field(min_length=1)


class ScoreRequest(Lenient):
    model: str
    input: list[Conversation] = Field(min_length=1, max_length=2048)


def score_routes(served: Served) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/score")
    async def score(asked: ScoreRequest, request: Request) -> HttpResponse:
        reward = served.reward(asked.model)
        pairs, num_tokens = await asyncio.to_thread(_pairs, reward, asked)

        async def whole() -> dict[str, Any]:
            found = await scores(reward, pairs)
            data = [{"object": "score", "index": i, "score": value} for i, value in enumerate(found)]
            usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
            return {"object": "list", "model": asked.model, "data": data, "usage": usage}

        return await unless_gone(request, whole())

    return router


def _pairs(reward: RewardWorker, asked: ScoreRequest) -> tuple[list[tuple[Prompt, Response]], int]:
    """And how many tokens they are. Raises Refusal."""
    pairs, num_tokens = [], 0
    for i, conversation in enumerate(asked.input):
        place = f"input.{i}.messages"
        if conversation.messages[-1].role != "assistant":
            raise Refusal(f"{place}: the last message is to be the assistant's, which is scored", place)
        prompt = prompt_of(conversation.messages, go_on=True, param=place)
        pair = Prompt(prompt.id, prompt.messages), Response(prompt.prefill)
        num_tokens += reward.num_tokens(*pair, place)
        pairs.append(pair)
    return pairs, num_tokens

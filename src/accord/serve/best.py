"""The best of N: what a policy writes several times, and a reward chooses from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from accord.engine.readings import Reading
from accord.serve.asking import answers, scores
from accord.serve.errors import Refusal
from accord.serve.reward_worker import RewardWorker
from accord.serve.worker import NUM_SLOTS, Finish, Piece, Question, Worker
from accord.types import Prompt, Response


def check_draws(num_samples: int, num_draws: int) -> None:
    """Raises Refusal when so many cannot be written at once."""
    if num_samples * num_draws > NUM_SLOTS:
        most = NUM_SLOTS // num_draws
        what = f"each answer is the best of {num_draws}, and {NUM_SLOTS} are written at once: n is at most {most}"
        raise Refusal(what, "n")


async def best_answers(
    worker: Worker, reward: RewardWorker, question: Question, prompt: Prompt, num_draws: int
) -> AsyncIterator[tuple[int, Piece]]:
    """Each of the question's answers whole, once the best of its draws is known; it counts the tokens of all of them.
    Raises Refusal."""
    num = question.num_samples * num_draws
    texts, finish = [""] * num, list[Finish | None]([None] * num)
    readings, num_tokens = [list[Reading]() for _ in range(num)], [0] * num
    async for _, piece in answers(worker, [replace(question, num_samples=num)]):
        assert isinstance(piece, Piece)
        texts[piece.k] += piece.text
        readings[piece.k] += piece.readings
        finish[piece.k], num_tokens[piece.k] = piece.finish, piece.num_tokens
    responses = [Response(text, finished=end == "stop") for text, end in zip(texts, finish, strict=True)]
    for response in responses:
        reward.num_tokens(prompt, response, "messages")
    found = await scores(reward, [(prompt, one) for one in responses])
    for k in range(question.num_samples):
        draws = range(k * num_draws, (k + 1) * num_draws)
        best = max(draws, key=lambda draw: found[draw])
        spent = sum(num_tokens[draw] for draw in draws)
        yield 0, Piece(k, texts[best], finish[best], spent, tuple(readings[best]))

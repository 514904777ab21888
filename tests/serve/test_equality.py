"""Over the server is as in process, also where many are asked together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import accord
from accord.models.policy import Policy

NUM = 16
PROMPTS = [f"{'word ' * i}Write {i} lines." for i in range(NUM)]


@pytest.fixture(scope="module")
def plain(policy: Policy, tiny_model: Path) -> accord.Policy:
    return accord.Policy(policy, tiny_model)


def asked(client: TestClient, bodies: list[dict[str, Any]], path: str) -> list[Any]:
    """All at the same time."""
    with ThreadPoolExecutor(NUM) as pool:
        answers = list(pool.map(lambda body: client.post(path, json={"model": "one", **body}), bodies))
    assert [one.status_code for one in answers] == [200] * len(bodies)
    return [one.json() for one in answers]


def test_greedy_text_and_its_logprobs(client: TestClient, plain: accord.Policy) -> None:
    """Of 16 chats of different lengths: what the sampler writes, and what the scorer says of it."""
    bodies = [
        {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 4 + i, "logprobs": True}
        for i, prompt in enumerate(PROMPTS)
    ]
    found = asked(client, bodies, "/v1/chat/completions")
    checked = 0
    for i, (prompt, one) in enumerate(zip(PROMPTS, found, strict=True)):
        (choice,) = one["choices"]
        text = choice["message"]["content"]
        assert [[text]] == plain.sample([prompt], max_response_tokens=4 + i, temperature=0)
        response = accord.Response(text, finished=choice["finish_reason"] == "stop")
        rows = choice["logprobs"]["content"]
        if len(plain.engine.template.response_ids(response)) == len(rows) and "\ufffd" not in text:
            (expected,) = plain.logprobs([prompt], [[response]])[0]
            assert sum(row["logprob"] for row in rows) == pytest.approx(expected, abs=1e-3)
            checked += 1
    assert checked >= 3, "the random model writes too few texts that are tokenized as they were written"


def test_logprobs_of_given_texts(client: TestClient, plain: accord.Policy) -> None:
    """16 texts of different lengths, read together, against each alone."""
    template = plain.engine.template
    texts = [accord.Response(prompt) for prompt in PROMPTS]
    given = [(template.prompt_ids(accord.Prompt("x", (accord.Message("user", p),))), p) for p in PROMPTS]
    bodies = [
        {
            "prompt": [*ids, *template.response_ids(text)],
            "max_tokens": 1,
            "echo": True,
            "logprobs": 1,
            "temperature": 0,
        }
        for (ids, _), text in zip(given, texts, strict=True)
    ]
    for (ids, prompt), text, one in zip(given, texts, asked(client, bodies, "/v1/completions"), strict=True):
        numbers = one["choices"][0]["logprobs"]["token_logprobs"][len(ids) : -1]
        assert sum(numbers) == pytest.approx(plain.logprobs([prompt], [[text]])[0][0], abs=1e-3)

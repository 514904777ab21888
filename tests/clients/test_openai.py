"""OpenAI's own SDK."""

from __future__ import annotations

from pathlib import Path

import pytest

import accord
from accord.models.policy import Policy
from tests.clients.conftest import Run, serving

CLIENT = "openai"


def test_all_that_the_sdk_asks(run_client: Run, address: str, tiny_model: Path, reward_folder: Path) -> None:
    found = run_client("run_openai.py", address, "any")
    policy = accord.Policy(Policy.load(tiny_model), tiny_model)
    ((text,),) = policy.sample(["Hello."], max_response_tokens=12, temperature=0)
    assert found["models"] == ["tiny", "long", "rm"]

    (choice,) = found["chat"]["choices"]
    assert choice["message"]["content"] == text
    rows = choice["logprobs"]["content"]
    assert len(rows) == found["chat"]["usage"]["completion_tokens"]
    assert all(row["top_logprobs"][0]["logprob"] == row["logprob"] for row in rows)
    assert len(set(found["several"])) == 3

    events = found["chat events"]
    assert "".join(one["delta"]["content"] or "" for event in events for one in event["choices"]) == text
    assert (events[-1]["choices"], events[-1]["usage"]) == ([], found["chat"]["usage"])
    assert events[-2]["choices"][0]["finish_reason"] == choice["finish_reason"]

    (choice,) = found["text"]["choices"]
    assert choice["text"].startswith("The acting is")
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert {len(column) for column in choice["logprobs"].values()} == {sum_of(found["text"]["usage"])}
    assert "".join(one["text"] for event in found["text events"] for one in event["choices"]) == choice["text"]

    expected = accord.load_reward(reward_folder).score(["Hello."], [["Good."]])[0][0]
    assert found["score"]["data"][0]["score"] == pytest.approx(expected, abs=0.05)  # here perhaps not in fp32

    errors = found["errors"]
    assert errors["no such model"][:3] == ["NotFoundError", "model_not_found", "model"]
    assert [errors[name][0] for name in ("too long", "no text", "impossible")] == ["BadRequestError"] * 3
    assert [errors[name][2] for name in ("too long", "no text", "impossible")] == [
        "messages",
        "response_format",
        "temperature",
    ]


def sum_of(usage: dict[str, int]) -> int:
    return usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_key(run_client: Run, tiny_model: Path, reward_folder: Path) -> None:
    with serving(f"tiny={tiny_model}", "--reward", f"rm={reward_folder}", ACCORD_API_KEY="horse") as url:
        assert run_client("run_openai.py", url, "donkey")["refused"][:2] == [
            "AuthenticationError",
            "invalid_api_key",
        ]
        assert run_client("run_openai.py", url, "horse")["models"] == ["tiny", "rm"]

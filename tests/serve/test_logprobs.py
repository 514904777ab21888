"""Log-probabilities of chat completions, and their shapes by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

import accord
from accord.engine.readings import Reading
from accord.models.policy import Policy
from accord.serve.logprobs import TextLogprobs, chat_logprobs, finite
from accord.text.token_bytes import TokenBytes
from tests.fixtures.tiny_model import make_tokenizer

HELLO = [{"role": "user", "content": "Hello."}]


def ask(client: TestClient, **body: Any) -> Any:
    body = {"model": "one", "messages": HELLO, "max_tokens": 12, "logprobs": True, **body}
    return client.post("/v1/chat/completions", json=body)


@pytest.fixture(scope="module")
def token_bytes() -> TokenBytes:
    return TokenBytes(make_tokenizer())


def test_the_shape_of_a_chat_by_hand(token_bytes: TokenBytes) -> None:
    tokenizer = make_tokenizer()
    (a,), parts = tokenizer.encode("a"), tokenizer.encode("灯")
    found = chat_logprobs([Reading(a, -0.5, ((2, -0.25), (a, -0.5))), Reading(parts[0], float("-inf"))], token_bytes)
    assert found == {
        "content": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [
                    {"token": "<|im_end|>", "logprob": -0.25, "bytes": None},
                    {"token": "a", "logprob": -0.5, "bytes": [97]},
                ],
            },
            {"token": "\ufffd", "logprob": -9999.0, "bytes": [0xE7], "top_logprobs": []},
        ],
        "refusal": None,
    }


def test_no_number_that_json_has_not() -> None:
    assert [finite(x) for x in (-1.5, float("-inf"), float("nan"))] == [-1.5, -9999.0, -9999.0]


def test_tokens_of_one_name_count_once(token_bytes: TokenBytes) -> None:
    """The token's own number is among the others, or a more probable one's of the same name."""
    unknown = (510, 511)  # both have no name
    rows = TextLogprobs(token_bytes).of_response([Reading(unknown[1], -2.0, ((unknown[0], -1.0),))])
    assert rows["top_logprobs"] == [{"": -1.0}]
    assert rows["token_logprobs"] == [-2.0]


@pytest.mark.parametrize("temperature", [0, 1.0, 0.3])
def test_they_are_the_models_own_whatever_is_drawn(client: TestClient, policy: Policy, temperature: float) -> None:
    """Summed up they are what `Policy.logprobs` says of the response in process."""
    found = ask(client, temperature=temperature, top_p=0.9, seed=4, top_logprobs=3).json()
    (choice,) = found["choices"]
    rows = choice["logprobs"]["content"]
    assert len(rows) == found["usage"]["completion_tokens"]
    text = choice["message"]["content"]
    assert b"".join(bytes(row["bytes"] or []) for row in rows).decode(errors="replace") == text
    assert [len(row["top_logprobs"]) for row in rows] == [3] * len(rows)
    assert all(row["logprob"] <= row["top_logprobs"][0]["logprob"] for row in rows)
    if temperature == 0:
        assert all(row["logprob"] == row["top_logprobs"][0]["logprob"] for row in rows)
    ids = policy.template.prompt_ids(accord.Prompt("x", (accord.Message("user", "Hello."),)))
    own = [token for row in rows for token in policy.template.tokenizer.encode(row["token"], add_special_tokens=False)]
    if len(own) == len(rows):
        whole = client.post(
            "/v1/completions",
            json={"model": "one", "prompt": [*ids, *own], "max_tokens": 0, "echo": True, "logprobs": 0},
        ).json()
        expected = whole["choices"][0]["logprobs"]["token_logprobs"][len(ids) :]
        assert [row["logprob"] for row in rows] == pytest.approx(expected, abs=1e-4)


def test_a_stream_has_them_all(client: TestClient) -> None:
    whole = ask(client, seed=3, n=2, top_logprobs=1).json()
    answer = ask(client, seed=3, n=2, top_logprobs=1, stream=True)
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n")[:-2]]
    for choice in whole["choices"]:
        parts = [one for event in events for one in event["choices"] if one["index"] == choice["index"]]
        rows = [row for part in parts if part["logprobs"] for row in part["logprobs"]["content"]]
        assert rows == choice["logprobs"]["content"]


def test_nobody_gets_them_unasked(client: TestClient) -> None:
    assert ask(client, logprobs=False).json()["choices"][0]["logprobs"] is None
    assert ask(client, logprobs=None, stream=True).text.count('"logprobs": {') == 0


def test_a_narrow_nucleus_draws_the_most_probable(client: TestClient) -> None:
    def text(**more: Any) -> str:
        return str(ask(client, **more).json()["choices"][0]["message"]["content"])

    greedy = text(temperature=0)
    assert text(top_p=1e-9, seed=1) == greedy
    assert text(top_p=1, seed=1) != greedy

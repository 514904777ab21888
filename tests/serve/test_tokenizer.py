from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.models.policy import Policy
from accord.types import Message, Prompt


def test_what_a_remote_tokenizer_asks_first(client: TestClient, policy: Policy) -> None:
    """lm-eval's: no model is named, and ids of single control tokens are looked up as texts."""
    found = client.get("/tokenizer_info").json()
    names = (found["bos_token"], found["eos_token"], found["pad_token"])
    assert names == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert found["chat_template"] == policy.template.tokenizer.chat_template
    assert found["model_max_length"] == 256
    body = {"prompt": found["eos_token"], "add_special_tokens": False}
    assert client.post("/tokenize", json=body).json()["tokens"] == [policy.template.end_id]


def test_there_and_back(client: TestClient, policy: Policy) -> None:
    text = "A dull plot, and 灯.<|im_end|>"
    found = client.post("/tokenize", json={"prompt": text, "model": "two", "return_token_strs": True}).json()
    assert (found["count"], found["max_model_len"]) == (len(found["tokens"]), 256)
    assert found["tokens"] == policy.template.tokenizer.encode(text)
    assert len(found["token_strs"]) == found["count"]
    assert client.post("/detokenize", json={"tokens": found["tokens"]}).json() == {"prompt": text}
    assert client.post("/detokenize", json={"tokens": []}).json() == {"prompt": ""}
    assert client.post("/tokenize", json={"prompt": ""}).json()["tokens"] == []


def test_messages_are_what_a_chat_is_given(client: TestClient, policy: Policy) -> None:
    messages = [{"role": "user", "content": "Hello."}]
    found = client.post("/tokenize", json={"messages": messages}).json()
    assert tuple(found["tokens"]) == policy.template.prompt_ids(Prompt("x", (Message("user", "Hello."),)))
    asked = {"model": "one", "messages": messages, "max_tokens": 1}
    assert client.post("/v1/chat/completions", json=asked).json()["usage"]["prompt_tokens"] == found["count"]


@pytest.mark.parametrize(
    ("path", "body", "status", "why"),
    [
        ("tokenize", {}, 400, "a prompt or messages are wanted"),
        ("tokenize", {"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, 400, "and not both"),
        ("tokenize", {"prompt": "x", "model": "three"}, 404, "there is no model 'three'"),
        ("detokenize", {"tokens": [512]}, 400, "there is no token 512: the model knows those below 512"),
        ("detokenize", {"tokens": [-1]}, 400, "tokens.0: Input should be greater than or equal to 0"),
    ],
)
def test_refusals(client: TestClient, path: str, body: Any, status: int, why: str) -> None:
    answer = client.post(f"/{path}", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
    assert why in answer.json()["error"]["message"]

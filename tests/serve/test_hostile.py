"""Whatever a client sends, the server answers, and an error of the client's is never one of the server's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/score", "/tokenize", "/detokenize"]
GOOD: dict[str, Any] = {
    "model": "one",
    "messages": [{"role": "user", "content": "Hello."}],
    "prompt": "Hello.",
    "tokens": [5],
    "input": [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}],
    "max_tokens": 1,
}
FIELDS = [*GOOD, "n", "stop", "seed", "temperature", "top_p", "stream", "stream_options", "logprobs", "top_logprobs"]
FIELDS += ["echo", "response_format", "best_of", "suffix", "max_completion_tokens", "continue_final_message"]
LENGTHS = ("max_tokens", "max_completion_tokens")
ALMOST_FULL = {"messages": [{"role": "user", "content": "word " * 110}], "prompt": "word " * 110}  # of 256 tokens
STRANGE = [None, True, -1, 0, 1e308, 10**400, 2**70, "", "\ud800", "\x00", [], [[]], [None], {}, [""], ["\udfff"]]
STRANGE += [[5, 511], [510], [[5], "x"], {"role": "user"}, [{"role": "assistant", "content": "\ud83d"}], "<|im_end|>"]


HALF = "a\ud83d"
HELLO, REPLY = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
HALVES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": HALF}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "text", "text": HALF}]}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "stop": HALF}),
    ("/v1/completions", {"prompt": HALF}),
    ("/v1/completions", {"prompt": "a", "stop": [HALF]}),
    ("/tokenize", {"prompt": HALF}),
    ("/tokenize", {"messages": [{"role": "user", "content": HALF}]}),
    ("/v1/score", {"input": [{"messages": [{"role": "user", "content": HALF}, REPLY]}]}),
    ("/v1/score", {"input": [{"messages": [HELLO, {"role": "assistant", "content": HALF}]}]}),
]


def post(client: TestClient, path: str, body: Any) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("field", FIELDS)
def test_one_field_is_strange(client: TestClient, path: str, field: str) -> None:
    good = GOOD | ALMOST_FULL if field in LENGTHS else GOOD  # no length is all that there is room for
    for value in STRANGE:
        answer = post(client, path, {**good, field: value})
        assert answer.status_code < 500, (value, answer.text)
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(("path", "body"), HALVES)
def test_half_a_character(client: TestClient, path: str, body: dict[str, Any]) -> None:
    answer = post(client, path, {"model": "one", "max_tokens": 1, **body})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "a text holds half a character" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_no_json_at_all(client: TestClient, path: str) -> None:
    for body in (b"", b"null", b"[]", b"[" * 100_000, b'{"model": 1e999}', b"9" * 5000, b"\xff\xfe", b'"\\ud800"'):
        answer = post(client, path, body)
        assert answer.status_code == 400, (body[:20], answer.text)
        assert answer.json()["error"]["type"] == "invalid_request_error"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30), tokens=st.lists(st.integers(0, 511), min_size=1, max_size=20), top=st.integers(0, 20))
def test_any_text_and_any_tokens_can_be_read(client: TestClient, text: str, tokens: list[int], top: int) -> None:
    body = {"model": "one", "prompt": tokens, "echo": True, "logprobs": top, "max_tokens": 1}
    found = post(client, "/v1/completions", body).json()["choices"][0]
    assert len(found["logprobs"]["tokens"]) == len(tokens) + 1
    answer = post(client, "/v1/completions", {**body, "prompt": text})
    assert answer.status_code == (200 if text else 400)
    if text:
        assert answer.json()["choices"][0]["text"].startswith(text)

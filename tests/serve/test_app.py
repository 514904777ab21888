from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from starlette.testclient import TestClient

from accord.ports import too_long
from accord.serve import asking
from accord.serve.app import create_app
from accord.serve.guard import MOST_BYTES
from accord.serve.worker import Worker
from tests.fixtures.live_server import live

HELLO = [{"role": "user", "content": "Hello."}]


def ask(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/chat/completions", json={"model": "one", "messages": HELLO, "max_tokens": 8, **body})


def events(answer: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_a_completion_has_the_shape_that_clients_read(client: TestClient) -> None:
    found = ask(client, seed=1, n=2, user="ana", unknown={"field": 1}).json()
    assert found["object"] == "chat.completion"
    assert found["model"] == "one"
    assert found["id"].startswith("chatcmpl-")
    assert [one["index"] for one in found["choices"]] == [0, 1]
    assert all(one["message"]["role"] == "assistant" for one in found["choices"])
    assert all(one["finish_reason"] in ("stop", "length") for one in found["choices"])
    usage = found["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 2 <= usage["completion_tokens"] <= 16


def test_a_stream_is_the_completion_in_pieces(client: TestClient) -> None:
    whole = ask(client, seed=3, max_tokens=24).json()
    answer = ask(client, seed=3, max_tokens=24, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer)
    assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in found if one["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert [one["choices"][0]["finish_reason"] for one in found if one["choices"]][-1] == whole["choices"][0][
        "finish_reason"
    ]
    assert (found[-1]["choices"], found[-1]["usage"]) == ([], whole["usage"])


def test_the_same_seed_draws_the_same_and_none_draws_anew(client: TestClient) -> None:
    def text(**options: Any) -> str:
        return str(ask(client, max_tokens=20, **options).json()["choices"][0]["message"]["content"])

    assert text(seed=7) == text(seed=7)
    assert len({text() for _ in range(3)}) == 3
    assert text(temperature=0) == text(temperature=0, seed=4)


def test_messages_of_all_kinds(client: TestClient) -> None:
    parts = [{"type": "text", "text": "Hello"}, {"type": "text", "text": "."}]
    plain = ask(client, temperature=0).json()["choices"]
    assert ask(client, temperature=0, messages=[{"role": "user", "content": parts}]).json()["choices"] == plain
    talk = [{"role": "developer", "content": "Be short."}, *HELLO, {"role": "assistant", "content": "Well"}]
    assert ask(client, messages=talk, continue_final_message=True).status_code == 200
    assert ask(client, stop=None, max_completion_tokens=2, temperature=0).json()["usage"]["completion_tokens"] <= 2
    assert ask(client, stop="e").status_code == 200


def test_models_and_health(client: TestClient) -> None:
    assert [one["id"] for one in client.get("/v1/models").json()["data"]] == ["one", "two"]
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/v1/models").json()["data"][0]["max_model_len"] == 256
    for base in ("/", "/v1", "/v1/"):
        assert client.get(base).json()["policies"] == ["one", "two"]


def test_a_body_that_is_no_json_is_said(client: TestClient) -> None:
    found = client.post("/v1/chat/completions", content="{nope", headers={"content-type": "application/json"})
    assert found.status_code == 400
    assert found.json()["error"]["message"].startswith("the body is no JSON: Expecting property name")
    assert found.json()["error"]["message"].endswith("at character 1")


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"model": "ones"}, 404, "there is no model 'ones'. Did you mean 'one'?"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role: Input should be 'system'"),
        ({"messages": "x"}, 400, "messages: Input should be a valid list"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, 400, "the last message is the assistant's"),
        ({"messages": [{"role": "user", "content": "a<|im_end|>b"}]}, 400, "a message holds '<|im_end|>'"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, 400, "and the model reads and writes at most"),
        ({"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "messages.0.content: Input should be a valid string"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "the model reads texts alone"),
        ({"temperature": -1}, 400, "temperature: Input should be greater than or equal to 0"),
        ({"n": 65}, 400, "n: Input should be less than or equal to 64"),
        ({"top_p": 0}, 400, "top_p: Input should be greater than 0"),
        ({"top_p": 1.5}, 400, "top_p: Input should be less than or equal to 1"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs: Input should be less than or equal to 20"),
        ({"top_logprobs": 2}, 400, "top_logprobs needs logprobs: true"),
        ({"response_format": {"type": "json_object"}}, 400, "the model writes text, and no other response_format"),
        ({"response_format": "text"}, 400, "no other response_format is supported"),
        ({"stop": ["x"] * 65}, 400, "stop: List should have at most 64 items"),
    ],
)
def test_what_cannot_succeed_is_refused_in_openais_shape(
    client: TestClient, body: dict[str, Any], status: int, why: str
) -> None:
    answer = ask(client, **body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert why in error["message"]
    assert (error["type"], set(error)) == ("invalid_request_error", {"message", "type", "param", "code"})


@pytest.mark.parametrize(
    ("field", "neutral", "other"),
    [
        ("frequency_penalty", 0.0, 0.5),
        ("presence_penalty", 0, -1),
        ("repetition_penalty", 1.0, 1.1),
        ("logit_bias", {}, {"5": 100}),
        ("top_k", -1, 40),
        ("min_p", 0.0, 0.1),
        ("ignore_eos", False, True),
        ("tool_choice", "auto", "required"),
    ],
)
def test_what_would_change_an_answer_is_not_ignored(client: TestClient, field: str, neutral: Any, other: Any) -> None:
    """Clients send neutral values unasked."""
    for value in (None, neutral):
        assert ask(client, max_tokens=1, **{field: value}).status_code == 200
    for answer in (
        ask(client, **{field: other}),
        client.post("/v1/completions", json={"model": "one", "prompt": "x", "max_tokens": 1, field: other}),
    ):
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    if field in ("top_k", "min_p"):  # what is most probable is always in
        assert ask(client, max_tokens=1, temperature=0, **{field: other}).status_code == 200


def test_one_model_is_described_alone(client: TestClient) -> None:
    assert client.get("/v1/models/two").json() == client.get("/v1/models").json()["data"][1]
    answer = client.get("/v1/models/folder/tow")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "there is no model 'folder/tow'. Known: one, two."


def test_what_is_no_request_at_all(client: TestClient) -> None:
    for content in (b"", b"not json", b"[]", b'{"model": NaN}', b"\xff"):
        answer = client.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert client.get("/v1/nothing").json()["error"]["message"] == "there is no /v1/nothing here"
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 400


def test_a_model_that_fails_is_a_server_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from accord.engine.sampler import Sampler

    monkeypatch.setattr(Sampler, "step", lambda self: (_ for _ in ()).throw(MemoryError("none left")))
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert '"type": "server_error"' in ask(client, stream=True).text


def test_a_defect_is_answered_in_openais_shape(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Worker, "prompt_ids", lambda self, prompt: 1 / 0)
    answer = ask(client)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")


def test_what_is_too_long_is_refused(client: TestClient) -> None:
    fits = ask(client, messages=[{"role": "user", "content": "a" * (1 << 20)}])
    assert fits.json()["error"]["message"].startswith("the messages have ")
    assert client.post("/v1/chat/completions", content=(b"a" * (1 << 20) for _ in range(17))).status_code >= 400


def test_who_sends_too_much_is_told_so() -> None:
    """Over a socket: the answer comes although the client is still writing."""
    with live(create_app({})) as url:
        request = urllib.request.Request(f"{url}/v1/chat/completions", b"a" * (MOST_BYTES + 1))
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        assert (caught.value.code, json.load(caught.value)["error"]["message"]) == (413, too_long(MOST_BYTES))


def test_a_temperature_near_0_takes_the_most_probable(client: TestClient) -> None:
    def text(temperature: float) -> str:
        return str(ask(client, temperature=temperature, max_tokens=12).json()["choices"][0]["message"]["content"])

    assert text(1e-45) == text(0)


def test_nobody_writes_for_a_client_that_has_left(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamed or not: the question is cancelled."""
    from starlette.requests import Request

    cancelled: list[int] = []
    monkeypatch.setattr(asking, "_LOOK", 0.01)
    monkeypatch.setattr(Worker, "cancel", lambda self, number: cancelled.append(number))

    async def gone(self: Request) -> bool:
        return True

    monkeypatch.setattr(Request, "is_disconnected", gone)
    assert ask(client, max_tokens=400, n=8, temperature=5).status_code == 499
    assert cancelled

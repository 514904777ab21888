from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from accord.errors import UserError
from accord.models.policy import Policy
from accord.serve.app import create_app
from accord.serve.guard import KEY, key_of_environment
from accord.serve.worker import Worker

CHAT = {"model": "one", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1}


@pytest.fixture(scope="module")
def locked(policy: Policy) -> Iterator[TestClient]:
    worker = Worker(policy)
    with TestClient(create_app({"one": worker}, key="correct-horse"), base_url="http://127.0.0.1") as client:
        yield client
    worker.close()


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer wrong", "correct-horse", "Bearer correct-horse2"])
def test_without_the_key_there_is_nothing(locked: TestClient, sent: str | None) -> None:
    headers = {} if sent is None else {"Authorization": sent}
    answers = [
        locked.post("/v1/chat/completions", json=CHAT, headers=headers),
        locked.post("/tokenize", json={"prompt": "x"}, headers=headers),
        *(locked.get(path, headers=headers) for path in ("/", "/v1", "/v1/models", "/tokenizer_info", "/nothing")),
    ]
    for answer in answers:
        assert answer.status_code == 401
        error = answer.json()["error"]
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_api_key", None)
        assert answer.headers["www-authenticate"] == "Bearer"


def test_with_the_key_there_is_all(locked: TestClient) -> None:
    headers = {"Authorization": "Bearer correct-horse"}
    assert locked.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200
    assert locked.get("/health").status_code == 200


@pytest.mark.parametrize("sent", ["", "Bearer ", "Bearer x", "Basic eDp5"])
def test_where_there_is_no_key_any_is_taken(client: TestClient, sent: str) -> None:
    assert client.post("/v1/chat/completions", json=CHAT, headers={"Authorization": sent}).status_code == 200


def test_the_key_is_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    assert key_of_environment() is None
    monkeypatch.setenv(KEY, "one-word")
    assert key_of_environment() == "one-word"
    for bad in ("", "two words", "schlüssel", "a\nb"):
        monkeypatch.setenv(KEY, bad)
        with pytest.raises(UserError, match="this key cannot be sent"):
            key_of_environment()

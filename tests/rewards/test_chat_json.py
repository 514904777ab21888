"""Servers that want of a chat completion what others refuse."""

from __future__ import annotations

from typing import Any

import pytest

from accord.rewards import chat_json
from accord.rewards.chat_json import ask_chat, refuses
from accord.rewards.http_json import Declined, Server
from tests.fixtures.http_server import Answer, serving

BODY = {"model": "new", "messages": [], "max_tokens": 9, "temperature": 0}
LIMIT = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
COLD = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_json, "_changes", {})


def newer(body: Any, before: int) -> Answer:
    """As models that think first answer: one thing that they refuse after the other."""
    for name, message in (("max_tokens", LIMIT), ("temperature", COLD)):
        if name in body:
            return 400, {"error": {"message": message, "type": "invalid_request_error"}}, {}
    return 200, {"limit": body.get("max_completion_tokens")}, {}


def test_what_is_refused_is_sent_otherwise_and_asked_for_once() -> None:
    with serving(newer) as asked:
        server = Server(asked.url, retries=0)
        assert [ask_chat(server, BODY, optional=("temperature",)) for _ in range(3)] == [{"limit": 9}] * 3
        assert len(asked.bodies) == 2 + 3
        assert asked.bodies[-1] == {"model": "new", "messages": [], "max_completion_tokens": 9}
        ask_chat(server, {**BODY, "model": "other"}, optional=("temperature",))
    assert "max_tokens" in asked.bodies[5], "another model of the server's may take it"


def test_what_is_not_optional_is_not_left_out() -> None:
    with serving(newer) as asked, pytest.raises(Declined, match="temperature"):
        ask_chat(Server(asked.url, retries=0), BODY)
    assert all(body["temperature"] == 0 for body in asked.bodies)


def test_who_takes_it_is_asked_as_ever() -> None:
    with serving(lambda body, _: (200, {}, {})) as asked:
        ask_chat(Server(asked.url, retries=0), BODY, optional=("temperature",))
    assert asked.bodies == [BODY]


def test_what_else_is_declined_is_an_error_at_once() -> None:
    with serving(lambda body, _: (400, {"error": "max_tokens is too large: 9"}, {})) as asked:
        with pytest.raises(Declined, match="too large"):
            ask_chat(Server(asked.url, retries=0), BODY)
        assert len(asked.bodies) == 1


@pytest.mark.parametrize(
    ("what", "field", "expected"),
    [
        (LIMIT, "max_tokens", True),
        (COLD, "temperature", True),
        ("Extra inputs are not permitted: max_tokens", "max_tokens", True),
        ("unknown field max_tokens", "max_tokens", True),
        ("this model's maximum context length is 8192 tokens", "max_tokens", False),
        ("temperature must be at most 2", "temperature", False),
        (LIMIT, "temperature", False),
    ],
)
def test_messages_about_a_field_as_such(what: str, field: str, expected: bool) -> None:
    assert refuses(what, field) == expected

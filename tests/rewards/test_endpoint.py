"""Rewards over HTTP, against a server on this machine."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from accord.errors import Interrupted, UserError
from accord.models.scalar import Normalisation
from accord.rewards import http_json
from accord.rewards.endpoint import EndpointReward
from accord.rewards.http_json import Declined, Server, check_url, is_local
from accord.types import Message, Prompt, Response
from tests.fixtures.http_server import Answer, lengths, serving

PROMPT = Prompt("a", (Message("user", "Hello."),), "Well")
PLAIN = Normalisation()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses between attempts are noted instead of made."""
    noted: list[float] = []

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        noted.append(timeout or 0.0)
        return self.is_set()

    monkeypatch.setattr(http_json, "Event", type("Event", (threading.Event,), {"wait": wait}))
    monkeypatch.setattr("accord.rewards.endpoint.Event", http_json.Event)
    return noted


def reward(url: str, **options: Any) -> EndpointReward:
    sizes = {name: options.pop(name) for name in ("batch_size", "concurrent") if name in options}
    return EndpointReward(Server(url, **{"timeout": 5.0, "retries": 2} | options), PLAIN, **sizes)


def test_what_is_sent():
    with serving(lengths) as asked:
        scores = reward(asked.url).score([PROMPT], [[Response(" met."), Response(" th\ud800en", finished=False)]])
    assert scores.tolist() == [9.0, 10.0]
    conversation = [{"role": "user", "content": "Hello."}]
    assert asked.bodies == [
        {
            "prompts": [conversation] * 2,
            "responses": ["Well met.", "Well th\ud800en"],
            "prefills": ["Well", "Well"],
            "finished": [True, False],
            "prompt_ids": ["a", "a"],
        }
    ]
    assert asked.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in asked.headers[0]


@pytest.mark.parametrize("answer", [{"rewards": [1, 2.5]}, {"scores": [1, 2.5]}, [1, 2.5]])
def test_the_forms_of_an_answer(answer: Any):
    with serving(lambda *_: (200, answer, {})) as asked:
        assert reward(asked.url).score([PROMPT], [[Response("a"), Response("b")]]).tolist() == [1.0, 2.5]


def test_several_requests_at_once_keep_the_order():
    """The first waits for the third, which takes the server three requests at once."""
    third = threading.Event()

    def answer(body: Any, before: int) -> Answer:
        if len(body["responses"][0]) == len("Well") + 1:
            assert third.wait(20)
        if len(body["responses"][0]) == len("Well") + 5:
            third.set()
        return lengths(body)

    responses = [[Response("x" * n) for n in range(1, 4)], [], [Response("x" * n) for n in range(4, 8)]]
    told: list[int] = []
    with serving(answer) as asked:
        scores = reward(asked.url, batch_size=2, concurrent=3).score([PROMPT] * 3, responses, told.append)
    assert scores.tolist() == [4.0 + n for n in range(1, 8)]
    assert sorted(len(body["responses"]) for body in asked.bodies) == [1, 2, 2, 2]
    assert told == [0, 2, 0, 1]  # the first prompt and the one without responses are done with the second request


def test_nothing_to_score_asks_nobody():
    assert reward("http://127.0.0.1:9/").score([], []).tolist() == []


def test_offset_and_gain():
    with serving(lengths) as asked:
        scaled = EndpointReward(Server(asked.url), Normalisation(5.0, 0.5))
        assert scaled.score([PROMPT], [[Response("")]]).tolist() == [-0.5]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int, no_waiting: list[float]):
    with serving(lambda body, n: lengths(body) if n == 2 else (status, "busy", {})) as asked:
        assert reward(asked.url).score([PROMPT], [[Response("")]]).tolist() == [4.0]
    assert len(asked.bodies) == 3
    assert no_waiting == [1.0, 2.0]


def test_the_server_says_how_long_to_wait(no_waiting: list[float]):
    waits = ["7", "999999", "Wed, 21 Oct 2026 07:28:00 GMT"]
    with serving(lambda body, n: lengths(body) if n == 3 else (503, "", {"Retry-After": waits[n]})) as asked:
        reward(asked.url, retries=3).score([PROMPT], [[Response("")]])
    assert no_waiting == [7.0, 60.0, 4.0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((503, "no room", {}), "answered 503 Service Unavailable: '\"no room\"', 3 times"),
        ((400, b"wrong " * 200, {}), "answered 400 Bad Request: 'wrong wrong "),
        (
            (400, {"error": {"message": "too long\n", "code": 4}}, {}),
            "answered 400 Bad Request: 'too long'\n  See in its",
        ),
        ((401, b"who?", {}), "answered 401 Unauthorized: 'who?'\n  It wants a key: name the environment variable"),
        ((404, {"detail": "Not Found"}, {}), "answered 404 Not Found: 'Not Found'\n  See that the URL and the name of"),
        (
            (302, b"", {"Location": "http://elsewhere.example/"}),
            "redirects to 'http://elsewhere.example/', and redirects are not followed\n  Give the URL that it ends at.",
        ),
        ((307, b"", {}), "redirects to 'nowhere', and redirects are not followed"),
        ((200, b"<html>\x1b[2J", {}), "answered with what is not JSON: '<html>[2J'"),
        ((200, b"[" * 100_000, {}), "answered with what is not JSON: '[[["),
        ((200, {"reward": [1]}, {}), 'answered without "rewards"\n  It has to answer {"rewards": [one number for each'),
        ((200, {"rewards": 3}, {}), "returned a value of type int, and a list of numbers is wanted"),
        ((200, {"rewards": [1, 2]}, {}), "returned 2 numbers for 1 responses"),
        ((200, {"rewards": ["1"]}, {}), "returned a value of type str for response 1 of 1, and a number is wanted"),
        ((200, b'{"rewards": [NaN]}', {}), "returned nan for response 1 of 1"),
        ((200, b'{"rewards": [1e999]}', {}), "returned inf for response 1 of 1"),
    ],
)
def test_what_is_refused(answer: Answer, message: str):
    with serving(lambda *_: answer) as asked, pytest.raises(UserError) as caught:
        reward(asked.url).score([PROMPT], [[Response("")]])
    assert str(caught.value).startswith(f"{asked.url}: the endpoint {message}")
    assert len(str(caught.value)) < 500
    assert isinstance(caught.value, Declined) == (answer[0] == 400)
    assert len(asked.bodies) == (3 if answer[0] == 503 else 1)


def test_a_server_that_is_late(no_waiting: list[float]):
    over = threading.Event()
    try:
        with serving(lambda *_: over.wait(20) and (200, [1], {})) as asked:  # type: ignore[arg-type, return-value]
            with pytest.raises(UserError, match=r"did not answer within 0.05 s, 3 times\n  Raise `timeout`") as caught:
                reward(asked.url, timeout=0.05).score([PROMPT], [[Response("")]])
            over.set()
    finally:
        over.set()
    assert caught.value.where == asked.url
    assert no_waiting == [1.0, 2.0]


def test_a_server_that_is_not_there():
    with serving(lengths) as asked:
        pass
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused.*\), 2 times\n  See that the server runs"):
        reward(asked.url, retries=1).score([PROMPT], [[Response("")]])


@pytest.mark.parametrize("body", [b"[1", b"[1]"])
def test_an_answer_that_breaks_off(body: bytes):
    """Also where what came is a whole value by itself."""
    with serving(lambda *_: (200, body, {"Content-Length": "100"})) as asked, pytest.raises(UserError) as caught:
        reward(asked.url, retries=1).score([PROMPT], [[Response("")]])
    assert "broke off its answer" in str(caught.value)
    assert len(asked.bodies) == 2


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http_json, "MOST_BYTES", 1 << 20)
    with serving(lambda *_: (200, b" " * (2 << 20), {})) as asked, pytest.raises(UserError, match="more than 1 MiB"):
        reward(asked.url).score([PROMPT], [[Response("")]])


def test_a_stop_ends_it(no_waiting: list[float]):
    def stop(_: int) -> None:
        raise Interrupted

    with serving(lengths) as asked, pytest.raises(Interrupted):
        reward(asked.url, batch_size=1, concurrent=1).score([PROMPT] * 50, [[Response("")]] * 50, stop)
    assert len(asked.bodies) < 50


KEY = "s3cret-key"


@pytest.mark.parametrize(("header", "sent"), [("Authorization", f"Bearer {KEY}"), ("X-API-Key", KEY)])
def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch, header: str, sent: str):
    monkeypatch.setenv("REWARD_KEY", f" {KEY}\n")
    with serving(lambda *_: (403, f"not for {KEY}", {})) as asked, pytest.raises(UserError) as caught:
        reward(asked.url, key_env="REWARD_KEY", key_header=header).score([PROMPT], [[Response("")]])
    assert {name.lower(): value for name, value in asked.headers[0].items()}[header.lower()] == sent
    assert "not for ***" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["s3cret-key", "s3cret'k\"e\\y"])
@pytest.mark.parametrize(("status", "headers"), [(200, {}), (500, {}), (302, {"Location": "http://a/?b={key}"})])
@pytest.mark.parametrize("before", ["", "x" * 190])
def test_a_key_that_is_echoed_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str, status: int, headers: dict[str, str], before: str
):
    """Wherever the server puts it, cut off or with characters that a message writes in another way."""
    monkeypatch.setenv("REWARD_KEY", key)
    sent = {name: value.format(key=key) for name, value in headers.items()}
    with serving(lambda *_: (status, f"{before}{key}".encode(), sent)) as asked, pytest.raises(UserError) as caught:
        reward(asked.url, key_env="REWARD_KEY", retries=0).score([PROMPT], [[Response("")]])
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "the environment variable REWARD_KEY, which key_env names, is not set\n  Set it: export REWARD_KEY=..."),
        ("a\nb-s3cret", "what the environment variable REWARD_KEY holds cannot be sent as a key"),
        ("s3crét", "what the environment variable REWARD_KEY holds cannot be sent as a key"),
    ],
)
def test_a_key_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, value: str, message: str):
    monkeypatch.setenv("REWARD_KEY", value)
    with pytest.raises(UserError) as caught:
        Server("http://127.0.0.1:9/a?token=b", key_env="REWARD_KEY").check_key()
    assert str(caught.value).startswith(f"http://127.0.0.1:9/a: {message}")
    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8000", "https://rewards.example/a?b=c", "http://[::1]:80/"])
def test_urls(url: str):
    check_url(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "this is not an http:// or https:// URL"),
        ("localhost:8000", "this is not an http:// or https:// URL"),
        ("http://", "this is not an http:// or https:// URL"),
        ("http://a:b", "this is not a URL: "),
        ("http://a b/", "a URL holds no spaces"),
        ("http://a/\r\nX: y", "a URL holds no spaces"),
        ("https://me:secret@a/", "the URL holds a name or a password"),
    ],
)
def test_urls_that_are_refused(url: str, message: str):
    with pytest.raises(ValueError, match=message):
        check_url(url)


def test_what_stays_on_this_machine():
    assert all(map(is_local, ("http://localhost/", "http://127.0.0.1:80/", "http://[::1]/")))
    assert not any(map(is_local, ("http://127.0.0.1.example/", "http://rewards.example/localhost")))


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(lengths) as asked:
        assert reward(asked.url).score([PROMPT], [[Response("")]]).tolist() == [4.0]


def test_the_file_holds_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from accord.rewards.endpoint import save_endpoint

    monkeypatch.setenv("REWARD_KEY", KEY)
    save_endpoint(tmp_path, reward("https://rewards.example/", key_env="REWARD_KEY"))
    text = (tmp_path / "reward.json").read_text()
    assert json.loads(text)["server"]["key_env"] == "REWARD_KEY"
    assert KEY not in text

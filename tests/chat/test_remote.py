"""`accord chat` with policies behind servers: Accord's own, and those of strangers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from typer.testing import CliRunner

import accord
from accord import cli
from accord.chat.remote import RemotePolicy
from accord.errors import UserError
from accord.models.policy import Policy
from accord.printable import printable
from accord.serve.app import create_app
from accord.serve.worker import Worker
from accord.types import Message, Prompt
from tests.fixtures.live_server import live

runner = CliRunner()
HELLO = Prompt("x", (Message("user", "Hello."),))


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> accord.Policy:
    return accord.Policy(Policy.load(tiny_model), tiny_model)


@pytest.fixture(scope="module")
def address(policy: accord.Policy) -> Iterator[str]:
    worker = Worker(policy.engine)
    with live(create_app({"one": worker, "two": worker}, key="horse")) as url:
        yield f"{url}/v1"
    worker.close()


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCORD_API_KEY", "horse")


def stranger(models: Any, events: str = "", status: int = 200, body: Any = None) -> FastAPI:
    """A server that lists models and answers every chat with the same."""
    app = FastAPI()

    @app.get("/v1/models")
    def listed() -> Response:
        return JSONResponse(models)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return JSONResponse(body, status) if body is not None else Response(events, status)

    return app


def test_an_answer_is_the_policys(address: str, policy: accord.Policy) -> None:
    remote = RemotePolicy.at(address, "two")
    assert (remote.name, remote.context, remote.num_tokens(HELLO)) == ("two", 256, policy.num_tokens(HELLO))
    answer = remote.stream(HELLO, max_response_tokens=9, temperature=0, seed=1)
    pieces = list(answer)
    assert [["".join(pieces)]] == policy.sample([HELLO], max_response_tokens=9, temperature=0)
    assert len(pieces) > 1
    assert answer.text == "".join(pieces)


def test_two_of_a_server_in_a_terminal(address: str, policy: accord.Policy) -> None:
    """One below the other, each with its name and its own history, and no more than fits into their context."""
    arguments = ["chat", address, "--model", "one", "--model", "two", "--temperature", "0", "--max-tokens", "6"]
    long = next(text for n in range(400) if policy.num_tokens(text := "word " * n + "end.") >= 240)
    result = runner.invoke(cli.app, arguments, input=f"Hello.\n{long}\n/save talk.jsonl\n")
    assert result.exit_code == 0, result.output
    expected = printable(policy.sample([HELLO], max_response_tokens=6, temperature=0)[0][0])
    assert f"one:\n{expected}\n\ntwo:\n{expected}\n" in result.stdout
    assert "(one: the oldest turn left out: the model reads 256 tokens at most)" in result.stdout
    rows = [json.loads(line) for line in Path("talk.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["one", "two"]
    assert [row["messages"][0]["content"] for row in rows] == ["Hello."] * 2


def test_one_there_and_one_here(address: str, tiny_model: Path) -> None:
    arguments = ["chat", address, str(tiny_model), "--model", "one", "--prompt", "Hello.", "--max-tokens", "3"]
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("one:\n")
    assert f"{tiny_model}:\n" in result.stdout


def test_what_is_wrong_is_one_message_and_status_2(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [
        ([address], "the server has 2 models: one, two\n  Name one with --model."),
        ([address, "--model", "ones"], "the server has no model 'ones'\n  Did you mean 'one'?"),
        (["http://127.0.0.1:9/v1"], "the server cannot be reached"),
        ([address.removesuffix("/v1") + "/"], f"mostly begins at /v1: try {address}."),
        (["http://me:secret@127.0.0.1/v1"], "holds a name or a password"),
        (["nothing", "--model", "one"], "the model 'nothing' is not there"),
    ]
    for arguments, message in cases:
        result = runner.invoke(cli.app, ["chat", *arguments, "--prompt", "x"])
        assert result.exit_code == 2
        assert message in result.stderr
    prompt = "word " * 300
    result = runner.invoke(cli.app, ["chat", address, "--model", "one", "--prompt", prompt])
    assert "the server answered 400: the messages have" in result.stderr
    monkeypatch.setenv("ACCORD_API_KEY", "wrong")
    result = runner.invoke(cli.app, ["chat", address, "--prompt", "x"])
    assert "the server answered 401: this key is not the server's" in result.stderr
    assert "Set ACCORD_API_KEY to the server's key." in result.stderr


def test_a_strangers_text_is_not_obeyed() -> None:
    """Neither an answer's nor a model's name nor an error's."""
    name = "m\x1b]0;title\x07"
    models = {"data": [{"id": name}, {"id": "other"}]}
    event = {"choices": [{"delta": {"content": "a\x1b[31mb\u202e"}, "finish_reason": "stop"}]}
    with live(stranger(models, f": note\n\ndata: {json.dumps(event)}\n\ndata: [DONE]\n\n")) as url:
        result = runner.invoke(cli.app, ["chat", f"{url}/v1", "--model", name, "--model", "other", "--prompt", "x"])
        assert result.exit_code == 0, result.output
        assert result.stdout == "m]0;title:\na[31mb\n\nother:\na[31mb\n\n"
    with live(stranger(models, status=400, body={"error": {"message": "no\x1b[2J" * 100}})) as url:
        result = runner.invoke(cli.app, ["chat", f"{url}/v1", "--model", "other", "--prompt", "x"])
        assert "answered 400: no[2Jno" in result.stderr
        assert "\x1b" not in result.stderr
        assert len(result.stderr) < 400


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ('data: {"choices": []}\n\n', "broke off its answer"),
        ("data: no json\n\n", "answered with what is not JSON"),
        ('data: {"error": {"message": "no memory"}}\n\n', "stopped: no memory"),
        ('data: {"error": 5}\n\n', "stopped: no reason was given"),
    ],
)
def test_an_answer_that_is_none(events: str, why: str) -> None:
    with live(stranger({"data": [{"id": "m"}]}, events)) as url:
        remote = RemotePolicy.at(f"{url}/v1")
        assert remote.context is None
        with pytest.raises(UserError, match=why):
            list(remote.stream(HELLO, max_response_tokens=4, temperature=0, seed=1))


@pytest.mark.parametrize("models", [None, [], {"data": 5}, {"data": [{}]}, {"data": []}])
def test_a_server_that_lists_no_models(models: Any) -> None:
    with live(stranger(models)) as url, pytest.raises(UserError):
        RemotePolicy.at(f"{url}/v1")


def test_a_server_that_wants_the_newer_limit() -> None:
    """Refuses the older one once, and is asked no more for it."""
    bodies: list[Any] = []
    app = FastAPI()

    @app.get("/v1/models")
    def listed() -> Response:
        return JSONResponse({"data": [{"id": "new"}]})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        bodies.append(await request.json())
        if "max_tokens" in bodies[-1]:
            return JSONResponse({"error": {"message": "max_tokens: use max_completion_tokens"}}, 400)
        event = {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}
        return Response(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n", media_type="text/event-stream")

    with live(app) as url:
        policy = RemotePolicy.at(f"{url}/v1")
        for _ in range(2):
            assert "".join(policy.stream(HELLO, max_response_tokens=7, temperature=0, seed=1)) == "yes"
    assert [body.get("max_completion_tokens") for body in bodies] == [None, 7, 7]

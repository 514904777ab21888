"""`accord serve --engine vllm`: OpenAI's clients get what torch gives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from accord.engine.vllm_engine import VllmEngine
from accord.models.policy import Policy
from accord.serve.app import create_app
from accord.serve.worker import Worker

ASK = {"messages": [{"role": "user", "content": "Write one line."}], "max_tokens": 12}
PLAIN = {"prompt": [5, 6, 7, 8, 9], "max_tokens": 12}


@pytest.fixture(scope="module")
def client(engine: VllmEngine, policy: Policy) -> Iterator[TestClient]:
    """Of a server with the same policy twice: "vllm" and "torch"."""
    workers = {"vllm": Worker(engine), "torch": Worker(policy)}
    with TestClient(create_app(workers), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
    for worker in workers.values():
        worker.close()


def ask(client: TestClient, path: str, body: dict[str, Any], model: str = "vllm") -> dict[str, Any]:
    answer = client.post(f"/v1/{path}", json={**body, "model": model})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_both_say_the_same(client: TestClient) -> None:
    """Likelihoods of a given text, with and without a token behind it, and a greedy chat with its logprobs."""
    for more in ({"max_tokens": 0}, {"max_tokens": 1, "temperature": 0}):
        body = {**PLAIN, "echo": True, "logprobs": 2, **more}
        (one,), (other,) = (ask(client, "completions", body, name)["choices"] for name in ("vllm", "torch"))
        assert (one["text"], one["logprobs"]["tokens"]) == (other["text"], other["logprobs"]["tokens"])
        assert one["logprobs"]["token_logprobs"][1:] == pytest.approx(other["logprobs"]["token_logprobs"][1:], abs=1e-3)
        assert [list(of) for of in one["logprobs"]["top_logprobs"][1:]] == [
            list(of) for of in other["logprobs"]["top_logprobs"][1:]
        ]
    body = {**ASK, "temperature": 0, "logprobs": True, "top_logprobs": 3}
    one, other = (ask(client, "chat/completions", body, name) for name in ("vllm", "torch"))
    assert one["choices"][0]["message"] == other["choices"][0]["message"]
    assert one["usage"] == other["usage"]
    rows = [[row["logprob"] for row in of["choices"][0]["logprobs"]["content"]] for of in (one, other)]
    assert rows[0] == pytest.approx(rows[1], abs=1e-3)


def test_seeds_n_and_many_at_once(client: TestClient) -> None:
    bodies = [{**ASK, "n": 3, "seed": seed, "temperature": 0.8, "top_p": 0.9} for seed in (1, 2, 1, 3)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda body: ask(client, "chat/completions", body), bodies))
    texts = [[choice["message"]["content"] for choice in one["choices"]] for one in found]
    assert texts[0] == texts[2] != texts[1]
    assert len(set(texts[0])) == 3


def test_a_stream_is_the_answer_in_pieces(client: TestClient) -> None:
    body = {**ASK, "seed": 4, "model": "vllm"}
    whole = ask(client, "chat/completions", body)["choices"][0]
    with client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines]
    assert "".join(one["delta"].get("content", "") for one in choices) == whole["message"]["content"]
    assert len(choices) > 3
    assert choices[-1]["finish_reason"] == whole["finish_reason"]


def test_a_stop_text_ends_a_response_before_it(client: TestClient) -> None:
    body = {**PLAIN, "temperature": 0, "max_tokens": 60}
    text = ask(client, "completions", body)["choices"][0]["text"]
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    (choice,) = ask(client, "completions", {**body, "stop": stop})["choices"]
    assert (choice["text"], choice["finish_reason"]) == (text[: text.find(stop)], "stop")


@pytest.mark.parametrize(
    ("more", "param"),
    [({"temperature": 0.005}, "temperature"), ({"top_k": 5}, "top_k"), ({"logit_bias": {"5": 1}}, "logit_bias")],
)
def test_what_it_cannot_do_is_a_400(client: TestClient, more: dict[str, Any], param: str) -> None:
    answer = client.post("/v1/chat/completions", json={**ASK, **more, "model": "vllm"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_the_command_listens_on_the_loopback_alone_and_ends_at_ctrl_c(folder: Path) -> None:
    command = [sys.executable, "-c", "from accord.cli import app; app()", "serve", f"tiny={folder}", "--port", "0"]
    own = {name: value for name, value in os.environ.items() if name != "ACCORD_API_KEY"} | {"ACCORD_DTYPE": "float32"}
    with subprocess.Popen([*command, "--engine", "vllm"], stdout=subprocess.PIPE, text=True, env=own) as server:
        try:
            assert server.stdout is not None
            started = next((line for line in server.stdout if line.startswith("serving ")), None)
            assert started is not None, "the server did not start"
            url = started.split()[1].removesuffix("/v1;")
            body = {**ASK, "model": "tiny", "temperature": 0}
            answer = httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=60)
            assert answer.status_code == 200, answer.text
            assert answer.json()["usage"]["completion_tokens"] > 0
            assert foreign_listeners(server.pid) == []
            server.send_signal(signal.SIGINT)
            assert server.wait(30) is not None
        finally:
            server.kill()


def foreign_listeners(process: int) -> list[str]:
    """Sockets of a process that listen, and not on the loopback: addresses as /proc has them."""
    files = Path(f"/proc/{process}/fd")
    if not files.is_dir():
        pytest.skip("this system does not tell who listens")
    own = {os.readlink(file) for file in files.iterdir()}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{process}/net/{name}").read_text().splitlines()[1:]
    ]
    listening = [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]
    assert listening
    loopback = ("0100007F:", "00000000000000000000000001000000:", "0000000000000000FFFF00000100007F:")
    return [address for address in listening if not address.startswith(loopback)]


def test_a_model_that_it_cannot_open_is_one_error(tiny_model: Path) -> None:
    """Heads of 8 numbers, which vLLM does not compute with on a processor; nothing was listened to before."""
    command = [sys.executable, "-c", "from accord.cli import app; app()", "serve", str(tiny_model), "--port", "0"]
    own = {**os.environ, "ACCORD_DTYPE": "float32"}
    done = subprocess.run([*command, "--engine", "vllm"], capture_output=True, text=True, env=own, timeout=200)
    assert done.returncode == 2, done.stderr
    assert "vLLM cannot open this model: " in done.stderr
    assert "Torch opens it: leave out --engine vllm" in done.stderr
    assert "serving" not in done.stdout

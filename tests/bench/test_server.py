"""A server that many ask at the same time: Accord's own, run whole on a tiny model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.contestants import server
from bench.contestants.asking import ask
from bench.speed.contestants import accord_server
from tests.fixtures.warm import Warm

ASKED = {"num_warmup": 1, "shortest": 3, "longest": 6, "seed": 1}


def asked(model: Path, folder: Path) -> Path:
    """The file that a contestant is given."""
    data, given = folder / "data.jsonl", folder / "asked.json"
    rows = [{"prompt": [{"role": "user", "content": text}]} for text in ("Why?", "Whose film?", "The plot is dull.")]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = accord_server(temperature=1, top_p=0.9, logprobs=True).settings
    given.write_text(json.dumps({**ASKED, **own, "model": str(model), "data": str(data)}))
    return given


@pytest.mark.long
def test_a_server_is_started_asked_and_stopped(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = []
    stop = server.stop
    monkeypatch.setattr(server, "stop", lambda process: (stop(process), stopped.append(process.poll())))
    # Its standard output is that of the tests, which is no file.
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    monkeypatch.setattr(sys, "argv", ["contestant", str(asked(tiny_model, tmp_path))])
    server.main()
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [code is not None for code in stopped] == [True]
    (seconds,), (tokens,) = report["seconds"], report["tokens"]
    assert tokens > 0
    first, last = report["phases"]["first token"], report["phases"]["answer"]
    assert len(first) == len(last) == 2  # the chat before them is not counted
    assert all(0 < one <= other <= seconds for one, other in zip(first, last, strict=True))
    assert report["phases"]["answer, p95"] == [max(last)]
    assert report["peak_bytes"] > 2**27  # of the server, which has loaded torch
    assert report["facts"]["start"] > 0
    assert 0 < report["facts"]["processor_seconds"] < 60


def test_chats_are_the_same_for_whoever_is_asked(tiny_model: Path, tmp_path: Path) -> None:
    given = json.loads(asked(tiny_model, tmp_path).read_text())
    ours = server.chats(given)
    theirs = server.chats({**given, "called": "{model}", "asks": {}})
    assert [one["max_tokens"] for one in ours] == [one["max_tokens"] for one in theirs]
    assert all(3 <= one["max_tokens"] <= 6 for one in ours)
    assert [one["model"] for one in (ours[0], theirs[0])] == ["served", str(tiny_model)]
    assert (ours[0]["top_p"], theirs[0]["temperature"]) == (0.9, 0)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(number) for number in range(64, 0, -1)]
    assert server.percentile(values, 95) == 61  # 60.8 of 64 values
    assert server.percentile([2.0], 95) == 2.0


def test_a_refusal_is_an_error(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm_python: Warm
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    monkeypatch.setattr(sys, "executable", warm_python.python)
    given = json.loads(asked(tiny_model, tmp_path).read_text())
    with server.serving(given) as (_, port), pytest.raises(RuntimeError, match=r"404: .*no model"):
        ask(port, {"model": "another", "messages": [{"role": "user", "content": "Why?"}]})

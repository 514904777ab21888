"""How a server ends: requests have some time, and no more."""

from __future__ import annotations

import signal
from typing import Any, cast

import pytest
import uvicorn

from accord.serve import serving


class FakeWorker:
    def __init__(self) -> None:
        self.told: list[str] = []

    def give_up(self, why: str) -> None:
        self.told.append(why)


def server(num_asked: int) -> tuple[Any, FakeWorker, list[str]]:
    worker, said = FakeWorker(), list[str]()
    one = serving._Server(uvicorn.Config(lambda: None), [cast(Any, worker)], said.append)
    one.server_state.tasks = cast(Any, set(range(num_asked)))
    return one, worker, said


def test_what_is_not_written_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_PATIENCE", 0)
    for num_asked, says in ((2, ["stopping: 2 requests are being answered"]), (0, [])):
        one, worker, said = server(num_asked)
        one.handle_exit(signal.SIGINT, None)
        one._timer.join(10)
        assert one.should_exit
        assert worker.told == ["the server stops"]
        assert [line.partition(",")[0] for line in said] == says


def test_a_second_ctrl_c_waits_for_nobody() -> None:
    one, worker, said = server(1)
    one.handle_exit(signal.SIGINT, None)
    assert (worker.told, len(said)) == ([], 1)
    one.handle_exit(signal.SIGINT, None)
    assert (worker.told, one.force_exit) == (["the server stops"], False)
    one.handle_exit(signal.SIGINT, None)
    assert one.force_exit

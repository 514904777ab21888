"""Trackers with a small module in the place of theirs: what it is called with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from accord.trackers.base import Series
from accord.trackers.reports import open_tracker


@pytest.fixture
def series(tmp_path: Path) -> Series:
    return Series("mine", "ppo", "ppo", "0123456789abcdef", 1, {"learning_rate": 1e-5}, tmp_path)


class Recorder:
    """Remembers each call, by name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Recorder:
            self.calls.append((name, args, kwargs))
            return self

        return call


@pytest.fixture(autouse=True)
def _imported_anew() -> Iterator[None]:
    """What was imported with a module of ours in it does not stay."""
    yield
    for name in ("wandb", "trackio"):
        sys.modules.pop(f"accord.trackers.{name}", None)


def in_place_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    fake, recorder = ModuleType(name), Recorder()
    for function in ("init", "log", "finish"):
        setattr(fake, function, getattr(recorder, function))
    monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.delitem(sys.modules, f"accord.trackers.{name}", raising=False)
    return recorder


def test_wandb_is_offline_and_goes_on_by_its_id(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = in_place_of("wandb", monkeypatch)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "other")
    tracker = open_tracker("wandb", series, 3)
    tracker.log(4, {"loss": 0.5, "eval_loss": 0.25})
    tracker.close()
    (init, log, finish) = recorder.calls
    assert init[2] == {
        "mode": "offline",
        "project": "other",
        "id": "mine-ppo-01234567",
        "resume": "allow",
        "name": "mine/ppo",
        "group": "mine",
        "job_type": "ppo",
        "config": {"learning_rate": 1e-5, "seed": 1},
        "dir": str(series.folder),
    }
    assert log == ("log", ({"train/loss": 0.5, "eval/loss": 0.25},), {"step": 4})
    assert finish[0] == "finish"


def test_trackio_keeps_its_database_in_the_store(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = in_place_of("trackio", monkeypatch)
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")
    monkeypatch.delenv("TRACKIO_PROJECT", raising=False)
    tracker = open_tracker("trackio", series, -1)
    assert os.environ["TRACKIO_DIR"] == str(series.folder.resolve().parents[1] / "trackio")
    tracker.log(1, {"loss": 0.5})
    tracker.close()
    (init, log, finish) = recorder.calls
    given: dict[str, object] = {"project": "accord", "name": "mine-ppo-01234567", "group": "mine", "resume": "allow"}
    given |= {"auto_log_gpu": False, "auto_log_cpu": False}
    assert init[2] == {**given, "config": {"learning_rate": 1e-5, "seed": 1}}
    assert log == ("log", ({"train/loss": 0.5},), {"step": 1})
    assert finish[0] == "finish"

"""The workspace: metrics that rewind, stops that save, locks that exclude."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from accord.errors import Interrupted, UserError
from accord.store.artifacts import Provenance, Store
from accord.store.lock import holder, lock, writing
from accord.store.workspace import MetricsLog, Workspace


def test_metrics_lines(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.read() == []
    log.write(1, loss=0.1 + 0.2, **{"objective/kl": 1.0})
    log.write(2, loss=0.5)
    assert log.path.read_text() == (
        '{"iteration": 1, "loss": 0.30000000000000004, "objective/kl": 1.0}\n{"iteration": 2, "loss": 0.5}\n'
    )
    assert log.read()[1] == {"iteration": 2, "loss": 0.5}


def test_metrics_rewind_to_the_same_bytes(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.rewind(3)
    for iteration in range(6):
        log.write(iteration, value=iteration / 3)
    whole = log.path.read_bytes()
    with log.path.open("a") as file:
        file.write('{"iteration": 6, "va')
    assert len(log.read()) == 6
    log.rewind(3)
    assert [row["iteration"] for row in log.read()] == [0, 1, 2, 3]
    log.write(4, value=4 / 3)
    log.write(5, value=5 / 3)
    assert log.path.read_bytes() == whole


def test_a_line_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Alarms that may end a training ask for all rows after each of them."""
    log, parsed, loads = MetricsLog(tmp_path / "metrics.jsonl"), list[str](), json.loads
    monkeypatch.setattr(json, "loads", lambda line: parsed.append(line) or loads(line))
    for iteration in range(4):
        log.write(iteration, loss=1.0)
        assert [row["iteration"] for row in log.read()] == list(range(iteration + 1))
    assert len(parsed) == 4
    log.read().clear()
    with log.path.open("a") as file:
        file.write('{"iteration": 4, "lo')
    assert len(log.read()) == 4
    log.write(4, loss=2.0)
    assert [row["loss"] for row in log.read()] == [1.0, 1.0, 1.0, 1.0, 2.0]
    log.path.unlink()
    assert log.read() == []


def test_a_torn_last_line_is_dropped_before_the_next(tmp_path: Path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(1, loss=1.0)
    with log.path.open("a") as file:
        file.write('{"iteration": 2')
    log.write(2, loss=2.0)
    assert [row["loss"] for row in log.read()] == [1.0, 2.0]
    log.path.write_text('{"iteration": 1}\nnonsense\n{"iteration": 2}\n')
    with pytest.raises(UserError, match="not JSON") as caught:
        log.read()
    assert caught.value.where == f"{log.path}:2"


def test_an_attempt_without_a_checkpoint_leaves_nothing(tmp_path: Path):
    work = Workspace(tmp_path / "w")
    work.metrics.write(1, loss=1.0)
    (work.out / "half.bin").write_bytes(b"x")
    assert list(Workspace(tmp_path / "w").out.iterdir()) == []


def test_resume_rewinds_the_metrics(tmp_path: Path):
    work = Workspace(tmp_path / "w", min_checkpoint_seconds=0.0)
    assert work.resume() is None
    for iteration in (1, 2, 3):
        work.metrics.write(iteration, loss=1.0)
        if iteration < 3:
            work.checkpoint_or_stop(iteration, lambda done=iteration: ({}, {"done": done}))
    (work.out / "manifest.json").write_text("killed while it was published")
    (work.out / "policy").mkdir()
    (work.out / "policy" / ".tmpX1b2").write_text("killed inside safetensors")
    again = Workspace(tmp_path / "w")
    checkpoint = again.resume()
    assert checkpoint is not None
    assert (checkpoint.iteration, checkpoint.state) == (2, {"done": 2})
    assert [row["iteration"] for row in again.metrics.read()] == [1, 2]
    assert [path.name for path in again.out.rglob("*") if path.is_file()] == ["metrics.jsonl"]
    for path in (tmp_path / "w" / "checkpoints").iterdir():
        (path / "state.json").unlink()
    assert Workspace(tmp_path / "w").resume() is None
    assert list(again.out.iterdir()) == []


def test_a_stop_saves_at_once_and_nothing_else_does(tmp_path: Path):
    stop = False
    work = Workspace(tmp_path / "w", min_checkpoint_seconds=1e9, stop=lambda: stop)

    def never() -> tuple[dict[str, dict[str, object]], dict[str, object]]:
        raise AssertionError("nothing is due")

    work.checkpoint_or_stop(1, never)  # type: ignore[arg-type]
    stop = True
    assert work.stop_requested()
    with pytest.raises(Interrupted):
        work.checkpoint_or_stop(2, lambda: ({}, {"at": 2}))
    found = Workspace(tmp_path / "w").resume()
    assert found is not None
    assert found.iteration == 2


def test_seconds_add_up_over_restarts(tmp_path: Path):
    now = 100.0
    work = Workspace(tmp_path / "w", min_checkpoint_seconds=0.0, clock=lambda: now)
    now = 130.0
    work.checkpoint_or_stop(1, lambda: ({}, {}))
    now = 135.0  # lost with the kill
    second = Workspace(tmp_path / "w", clock=lambda: now)
    now = 140.0
    assert second.seconds() == 30.0 + 5.0


def test_work_begun_under_other_conditions_is_not_gone_on_with(tmp_path: Path):
    store, begun = Store(tmp_path), {"dtype": "bfloat16"}
    folder = store.work_folder("sft", "k" * 64)
    work = Workspace(folder, min_checkpoint_seconds=0.0, conditions=begun)
    work.checkpoint_or_stop(1, lambda: ({}, {}))
    with pytest.raises(UserError) as caught:
        Workspace(folder, conditions={"dtype": "float32"}).resume()
    assert caught.value.what == "this step was begun with dtype bfloat16, and would go on with float32"
    assert caught.value.where == str(folder)
    assert caught.value.remedy.startswith("Set ACCORD_DTYPE=bfloat16 to go on, or delete")
    again = Workspace(folder, conditions=begun)  # nothing was lost by the refusal
    found = again.resume()
    assert found is not None
    assert found.iteration == 1
    artifact = again.publish(store, Provenance("sft", "sft", "k" * 64, 1, {}, 0, {}))
    assert artifact.manifest["conditions"] == begun


def test_publish_moves_out_and_removes_the_rest(tmp_path: Path):
    store = Store(tmp_path)
    work = Workspace(store.work_folder("sft", "k" * 64), min_checkpoint_seconds=0.0)
    (work.out / "a.txt").write_text("a")
    work.checkpoint_or_stop(1, lambda: ({}, {}))
    artifact = work.publish(store, Provenance("sft", "sft", "k" * 64, 1, {}, 0, {}))
    assert sorted(path.name for path in artifact.path.iterdir()) == ["a.txt", "manifest.json"]
    assert not work.folder.exists()


def test_a_lock_names_its_holder_and_is_gone_afterwards(tmp_path: Path):
    path = tmp_path / "deep" / "x.lock"
    with lock(path, "the step 'ppo'"):
        with pytest.raises(UserError) as caught, lock(path, "the step 'ppo'"):
            raise AssertionError("two hold it")
        assert f"'ppo' is being worked on by process {os.getpid()} on {socket.gethostname()}" in caught.value.what
        assert "Wait" in caught.value.remedy
    assert not path.exists()
    with lock(path, "again"):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path):
    path = tmp_path / "x.lock"
    child = os.fork()
    if child == 0:
        with lock(path, "it"):
            (tmp_path / "ready").touch()
            time.sleep(60)
        os._exit(0)
    while not (tmp_path / "ready").exists():
        time.sleep(0.005)
    with pytest.raises(UserError, match=f"process {child} "), lock(path, "it"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.exists()
    with lock(path, "it"):
        assert str(os.getpid()) in path.read_text()


def test_who_writes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with writing(tmp_path / "w", "it"):
            os.read(told, 1)
            os._exit(0)
    while f"process {child} " not in (holder(tmp_path / "w.writing.lock") or ""):
        time.sleep(0.01)
    with lock(tmp_path / "w.lock", "it"):
        pass  # of who started it, and is gone
    with pytest.raises(UserError, match=f"process {child} "), writing(tmp_path / "w", "it", patience=0.1):
        pass
    assert capsys.readouterr().err == "", "a short wait is not worth a word"
    monkeypatch.setattr("accord.store.lock._SILENT", 0.1)
    threading.Timer(0.4, os.write, (tell, b".")).start()
    with writing(tmp_path / "w", "it"):
        assert os.waitpid(child, 0) == (child, 0)
    said = capsys.readouterr().err
    assert said.count("it: waiting for at most 60 seconds until process") == 1
    assert f"process {child} on " in said
    os.close(told)
    os.close(tell)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(UserError, match="has no locks between processes") as caught, lock(tmp_path / "x.lock", "it"):
        raise AssertionError("it is held by nobody")
    assert "-o flock" in caught.value.remedy


def test_metrics_hold_no_times(tmp_path: Path):
    work = Workspace(tmp_path / "w")
    work.metrics.write(1, loss=1.0)
    assert set(json.loads(work.metrics.path.read_text())) == {"iteration", "loss"}

"""What status says of runs that are done, running, interrupted and gone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.status import num_bytes, run_status, status
from accord.store.artifacts import Store
from accord.store.lock import holder, lock

KEYS = {name: f"{name}-key-of-sixteen-and-more" for name in ("model", "sft", "ppo")}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run of three steps: model and sft are done, ppo is not."""
    store = Store(tmp_path / "my store")
    write_plan(store)
    for kind in ("model", "sft"):
        make(store.folder(kind, KEYS[kind]), "weights", b"x" * 100)
    make(store.folder("old", "a" * 16), "weights", b"x" * 1000)
    return store


def write_plan(store: Store, name: str = "mine") -> None:
    rows = [
        {"name": kind, "kind": kind, "key": key, "seconds": 61.0 if kind != "ppo" else None, "artifact": kind != "ppo"}
        for kind, key in KEYS.items()
    ]
    folder = store.root / "runs" / name
    folder.mkdir(parents=True)
    plan = {"recipe": "my recipe.yaml", "overrides": ["ppo.kl_target=3"], "seed": 1, "steps": rows}
    (folder / "plan.json").write_text(json.dumps(plan))


def make(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    (folder / "manifest.json").write_bytes(b"{}")


def test_a_run_that_has_steps_left(store: Store):
    (run,) = status(store).runs
    assert [(step.name, step.state, step.seconds) for step in run.steps] == [
        ("model", "done", 61.0),
        ("sft", "done", 61.0),
        ("ppo", "to run", None),
    ]
    assert run.state == "to run"
    assert run.command == f"accord run 'my recipe.yaml' --set ppo.kl_target=3 --store '{store.root}'"


def test_disk(store: Store):
    make(store.work_folder("ppo", KEYS["ppo"]), "file", b"x" * 50)
    found = status(store)
    assert found.artifacts == 102 + 102 + 1002
    assert found.unused == 1002
    assert found.unfinished == 52


def test_log_probabilities_belong_to_their_policy(store: Store):
    """One set under the run's policy, one under another's, one whose manifest says nothing."""
    for name, manifest in (
        ("b" * 16, {"parents": {"reference": [{"kind": "sft", "key": KEYS["sft"]}]}}),
        ("c" * 16, {"parents": {"reference": [{"kind": "sft", "key": "other-key-of-sixteen"}]}}),
        ("d" * 16, []),
    ):
        folder = store.folder("reference_logprobs", name)
        make(folder, "logprobs", b"x" * 10_000)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    before = 1002 + 2 * 10_000
    assert before < status(store).unused < before + 200


def test_an_interrupted_step(store: Store):
    work = store.work_folder("ppo", KEYS["ppo"])
    make(work / "checkpoints/000001", "state.json", b"{}")
    make(work / "checkpoints/000002", "state.json", b"{}")
    (work / "checkpoints/000002/manifest.json").write_text('{"iteration": 7}')
    (work / "checkpoints/000003").mkdir()  # one that was being written
    (work / "elapsed.json").write_text('{"seconds": 125.0}')
    step = status(store).runs[0].steps[2]
    assert (step.state, step.seconds, step.detail) == ("interrupted", 125.0, "goes on after iteration 7")
    shutil.rmtree(work / "checkpoints")
    step = status(store).runs[0].steps[2]
    assert (step.state, step.detail) == ("interrupted", "no checkpoint: it starts anew")
    assert status(store).runs[0].state == "interrupted"


def test_a_running_step(store: Store):
    work = store.work_folder("ppo", KEYS["ppo"])
    work.mkdir(parents=True)
    progress = {"label": "ppo", "done": 1200, "total": 2400, "unit": "iterations", "seconds_left": 130.0, "written": 0}
    with lock(work.with_name(f"{work.name}.lock"), "ppo"):
        who = f"process {os.getpid()} on {socket.gethostname()}"
        assert status(store).runs[0].steps[2].detail == who
        (work / "progress.json").write_text(json.dumps({**progress, "written": 9e9}))
        run = status(store).runs[0]
        assert (run.state, run.steps[2].state) == ("running", "running")
        assert run.steps[2].detail == f"{who}, ppo 1,200/2,400 iterations, 0:02:10 left"
        (work / "progress.json").write_text(json.dumps({**progress, "seconds_left": None}))
        assert "no news for" in status(store).runs[0].steps[2].detail
        (work / "progress.json").write_text("torn")
        assert status(store).runs[0].steps[2].detail == who
    assert status(store).runs[0].state == "interrupted"


def test_a_lock_that_a_killed_process_left(store: Store):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    path = store.root / "a.lock"
    path.write_text(f"process {process.pid} on {socket.gethostname()}")
    assert holder(path) is None
    path.write_text(f"process {process.pid} on elsewhere")
    assert holder(path) == f"process {process.pid} on elsewhere"
    path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
    assert holder(path) is None, "its number is another process's by now"
    path.write_text("nonsense")
    assert holder(path) is None
    assert holder(store.root / "none") is None


def test_an_artifact_that_was_removed(store: Store):
    shutil.rmtree(store.folder("sft", KEYS["sft"]))
    run = status(store).runs[0]
    assert [step.state for step in run.steps] == ["done", "removed", "to run"]
    assert run.state == "removed"


def test_work_of_no_run(store: Store):
    (store.root / "work/reward-0123456789abcdef").mkdir(parents=True)
    (other,) = status(store).others
    assert (other.name, other.kind, other.state) == ("reward-0123456789abcdef", "reward", "interrupted")


def test_several_runs(store: Store):
    write_plan(store, "second")
    os.utime(store.root / "runs/second/plan.json", (1, 1))
    assert [run.name for run in status(store).runs] == ["mine", "second"]
    assert [run.name for run in status(store, "second").runs] == ["second"]
    with pytest.raises(UserError, match="no run 'scond'") as caught:
        status(store, "scond")
    assert caught.value.remedy == "Did you mean 'second'?"


@pytest.mark.parametrize("name", ["", ".", "..", "../runs/mine", "mine/", "./mine", "/", "mi\0ne", "\ud800"])
def test_a_run_is_named_and_no_path(store: Store, name: str):
    shutil.copy(store.root / "runs/mine/plan.json", store.root / "plan.json")
    assert run_status(store, "mine").name == "mine"
    with pytest.raises(UserError, match="there is no run"):
        run_status(store, name)
    with pytest.raises(UserError, match="there is no run"):
        run_status(store, str(store.root / "runs/mine"))


def test_no_store(tmp_path: Path):
    found = status(Store(tmp_path / "none"))
    assert (found.runs, found.artifacts) == ((), 0)
    assert not (tmp_path / "none").exists()
    with pytest.raises(UserError, match="no run 'x'") as caught:
        status(Store(tmp_path / "none"), "x")
    assert "Run a recipe first" in caught.value.remedy


def test_a_plan_that_is_none(store: Store):
    (store.root / "runs/mine/plan.json").write_text("[]")
    with pytest.raises(UserError, match="not the plan of a run"):
        status(store)
    (store.root / "runs/mine/plan.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        status(store)


def test_num_bytes_leaves_out_what_links_point_to(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/link").symlink_to(tmp_path / "a")
    assert 10 < num_bytes(tmp_path) < 300  # the link itself is as long as its target's path


@pytest.mark.parametrize(
    ("kind", "said"),
    [("sft", "goes on after optimizer step 7"), ("sample", "goes on from its last checkpoint")],
)
def test_an_interrupted_step_counts_in_its_own_unit(tmp_path: Path, kind: str, said: str):
    checkpoint = tmp_path / "work" / f"{kind}-{'a' * 16}" / "checkpoints" / "000001"
    make(checkpoint, "state.json", b"{}")
    (checkpoint / "manifest.json").write_text('{"iteration": 7}')
    (step,) = status(Store(tmp_path)).others
    assert (step.kind, step.state, step.detail) == (kind, "interrupted", said)

"""A run is gone on with in the background, or it is said why not."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from accord import control
from accord.control import Control, Controls, log_of
from accord.errors import UserError
from accord.run_folder import lock_of
from accord.stopping import Process
from accord.store.artifacts import Store
from tests.fixtures.watched import Watched, end

SAYS = "import os, sys; print(sys.argv[1:], os.getcwd(), os.getsid(0) == os.getpid(), '\\x1b[1m', flush=True)"


@pytest.fixture
def run(tmp_path: Path) -> Watched:
    return Watched(Store(tmp_path / "store"))


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end_at
        time.sleep(0.02)


def test_it_is_gone_on_with_in_a_session_of_its_own(run: Watched, monkeypatch: pytest.MonkeyPatch):
    run.write_plan(overrides=["ppo.kl_target=3"])
    (run.folder / "recipe.yaml").write_text('# --set "ppo.kl_target=3"\n' + run.recipe.read_text())
    monkeypatch.setattr(control, "_PROGRAM", f"{SAYS}; sys.exit(3)")
    controls = Controls(run.store)
    assert controls.of("mine") == Control(None, True)
    controls.resume("mine")
    until(lambda: controls.of("mine").ended is not None)
    assert controls.of("mine") == Control(None, True, "", 3)
    said = log_of(run.folder)
    words = ["run", str(run.recipe), "--set", "ppo.kl_target=3", "--store", str(run.store.root.resolve())]
    assert said[-1] == f"{words} {run.recipe.parent} True [1m"
    assert said[-2].endswith("gone on with from a page")


def test_it_is_started_once(run: Watched, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control, "_PROGRAM", "import time; time.sleep(60)")
    controls = Controls(run.store)
    controls.resume("mine")
    try:
        assert controls.of("mine") == Control(None, False, "it is being started")
        with pytest.raises(UserError, match="is being started already"):
            controls.resume("mine")
    finally:
        controls._started["mine"].kill()
        controls._started["mine"].wait()


def test_what_runs_can_be_stopped_and_not_gone_on_with(run: Watched):
    controls = Controls(run.store)
    with run.process() as child:
        process = Process(child.pid, socket.gethostname())
        assert controls.of("mine") == Control(process, False)
        with pytest.raises(UserError, match="works on the run 'mine' already"):
            controls.resume("mine")
        controls.stop("mine", process)
        assert controls.of("mine") == Control(None, False)
        assert end(child) == ["stopping", "ended"]
    assert controls.of("mine").resume


def test_what_another_machine_works_on(run: Watched):
    lock_of(run.folder).write_text("process 7 on elsewhere")
    assert Controls(run.store).of("mine") == Control(None, False, "process 7 on elsewhere works on it: stop it there")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: run.write_plan(host="elsewhere"), "it was started on elsewhere. Go on with it there."),
        (lambda run: run.write_plan(folder="/nowhere"), "it was started from Python, or the file was moved"),
        (lambda run: run.write_plan(recipe="other.yaml"), "it was started from Python, or the file was moved"),
        (lambda run: run.recipe.write_text("model: other\n"), "was changed since"),
        (lambda run: run.recipe.write_bytes(b"\xff"), "cannot be read"),
        (lambda run: (run.folder / "plan.json").write_text(old_plan(run)), "an earlier version did not write it down"),
    ],
)
def test_what_cannot_be_gone_on_with_from_a_page(run: Watched, change: Callable[[Watched], object], why: str):
    change(run)
    controls = Controls(run.store)
    found = controls.of("mine")
    assert (found.stop, found.resume) == (None, False)
    assert why in found.why
    with pytest.raises(UserError):
        controls.resume("mine")
    assert log_of(run.folder) == []


def old_plan(run: Watched) -> str:
    plan = json.loads((run.folder / "plan.json").read_text())
    del plan["folder"], plan["host"]
    return json.dumps(plan)


def test_a_run_of_a_sweep(run: Watched):
    many = Watched(run.store, "many-001")
    many.write_plan(recipe=run.recipe.name)
    assert "it is one of several with this recipe" in Controls(run.store).of("many-001").why


def test_a_step_that_another_run_makes(run: Watched):
    other = Watched(run.store, "other")
    with other.held():
        assert Controls(run.store).of("mine").why.startswith("its next step is being made by another run")


def test_a_run_that_is_done_or_gone(run: Watched):
    for kind in ("model", "sft", "ppo"):
        run.finish(kind)
    assert Controls(run.store).of("mine") == Control(None, False)
    with pytest.raises(UserError, match="no run 'other'"):
        Controls(run.store).of("other")

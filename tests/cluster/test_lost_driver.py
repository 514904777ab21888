"""A worker that outlives who started it is still writing when the same step is begun again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from accord.cluster.assignment import Assignment
from accord.cluster.worker import perform
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store import lock
from accord.store.artifacts import Store

RECIPE = """\
model: {model}
data: {{}}
steps:
  - reward_rule: {{rule: length}}
"""
OUTLIVING = """
import sys, time
from pathlib import Path
from accord.store.lock import writing
with writing(Path(sys.argv[1]), "the step"):
    print("there", flush=True)
    time.sleep(600)
"""


def test_two_do_not_write_into_one_folder(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.writing, "__defaults__", (0.2,))
    store = Store(tmp_path / "store")
    plan = make_plan(parse_recipe(RECIPE.format(model=tiny_model), Path("r.yaml")), STEPS)
    (step,) = (one for one in plan.steps if one.kind == "reward_rule")
    work = store.work_folder(step.kind, step.key)

    def assigned(number: int) -> Assignment:
        return Assignment.of(
            step, rank=0, size=1, rendezvous=f"file://{tmp_path}/meeting-{number}", timeout=60.0, threads=1,
            sharding="none", recompute="off", cpu_offload=False, directory=os.getcwd(), store=os.fspath(store.root),
            work=os.fspath(work), stop=os.fspath(tmp_path / "stop"), min_checkpoint_seconds=0.0,
        )  # fmt: skip

    with subprocess.Popen([sys.executable, "-c", OUTLIVING, work], stdout=subprocess.PIPE, text=True) as old:
        assert old.stdout is not None
        assert old.stdout.readline() == "there\n"
        (work / "checkpoints").mkdir(parents=True)
        (work / "checkpoints" / ".000002.tmp").write_text("of the old one")
        refused = perform(assigned(1))
        assert (refused.how, f"is being worked on by process {old.pid}" in refused.what) == ("refused", True), refused
        assert (work / "checkpoints" / ".000002.tmp").read_text() == "of the old one"
        old.kill()
    assert perform(assigned(2)).how == "done"
    assert store.has(step.kind, step.key)
    assert not list(work.parent.glob(f"{work.name}*")), "the folder and its locks are gone"

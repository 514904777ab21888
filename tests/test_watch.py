"""A run that is looked at while its files grow, are replaced and go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from accord import watch
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.watch import Metrics, Overview, Sample, StepAlarm, Watch
from tests.fixtures.watched import Watched

KL = {"objective/kl": -3.0}  # of a single row there is an alarm about it


@pytest.fixture
def run(tmp_path: Path) -> Watched:
    run = Watched(Store(tmp_path / "store"))
    run.finish("model")
    run.finish("sft", [{"iteration": 1, "loss": 2.0}], alarms=[{"name": "a", "what": "that\x1b[1m", "since": 3}])
    return run


def test_metrics_are_read_on_from_where_the_last_reading_ended(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    metrics = Metrics(path)
    assert not metrics.read()
    path.write_text('{"iteration": 1}\n{"iter')
    assert metrics.read()
    assert metrics.rows == [{"iteration": 1}]
    assert not metrics.read()
    with path.open("a") as file:
        file.write('ation": 2}\nnot JSON\n[1]\n{"iteration": 3, "loss": NaN}\n')
    assert metrics.read()
    assert [row["iteration"] for row in metrics.rows] == [1, 2, 3]
    other = tmp_path / "other"
    other.write_text('{"iteration": 1}\n{"iteration": 2, "again": 1}\n' + " " * 200 + "\n")
    other.rename(path)
    assert metrics.read()
    assert metrics.rows == [{"iteration": 1}, {"iteration": 2, "again": 1}]
    path.unlink()
    assert metrics.read()
    assert metrics.rows == []
    assert not metrics.read()


def test_many_rows_are_halved_and_what_is_seldom_measured_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "MOST_ROWS", 4)
    rows = [{"iteration": at, "loss": float(at), **({"eval_loss": 0.5} if at == 1 else {})} for at in range(1, 6)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = Metrics(path)
    metrics.read()
    assert metrics.rows == [
        {"iteration": 2, "loss": 2.0, "eval_loss": 0.5},
        {"iteration": 4, "loss": 4.0},
        {"iteration": 5, "loss": 5.0},
    ]


def test_a_run_from_its_start_to_its_end(run: Watched, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watch, "REST_SECONDS", 0.0)
    monkeypatch.setattr(watch, "REST_FACTOR", 0.0)
    watched = Watch(run.store, "mine")
    look = watched.look()
    assert look is not None
    assert (look.run.state, look.running, look.step and look.step.name) == ("to run", None, "sft")
    earlier = StepAlarm("sft", "a", "that\N{REPLACEMENT CHARACTER}[1m", 3)
    assert look.alarms == (earlier,)
    with run.held():
        run.progress(1)
        run.log({"iteration": 1, "objective/kl": 0.1})
        run.samples(1, {"prompt": "<b>", "response": "\x1b[2J!", "score": 0.5}, {"prompt": "a", "response": ""})
        look = watched.look()
        assert look is not None
        assert look.running is look.step
        assert look.step is not None
        assert look.step.doing is not None
        assert (look.step.name, look.step.doing.done, look.step.doing.shown) == ("ppo", 1, {"kl": 1.5})
        assert look.samples == (Sample("<b>", "\N{REPLACEMENT CHARACTER}[2J!", 0.5), Sample("a", "", None))
        assert (look.samples_at, look.alarms) == (1, (earlier,))
        run.log({"iteration": 2, **KL})
        later = watched.look()
        assert later is not None
        assert later.version > look.version
        assert [(one.step, one.name, one.since) for one in later.alarms] == [("sft", "a", 3), ("ppo", "negative_kl", 2)]
        run.rewrite({"iteration": 1, "objective/kl": 0.1})  # it goes on from a checkpoint
        again = watched.look()
        assert again is not None
        assert (len(again.rows), again.alarms) == (1, (earlier,))
    stopped = watched.look()
    assert stopped is not None
    assert (stopped.run.state, stopped.samples, len(stopped.rows)) == ("interrupted", (), 1)
    run.finish("ppo", [{"iteration": 1}, {"iteration": 2}])
    shutil.rmtree(run.work)
    done = watched.look()
    assert done is not None
    assert (done.run.state, len(done.rows)) == ("done", 2)
    shutil.rmtree(run.folder)
    assert watched.look() is None
    run.write_plan()
    assert watched.look() is not None


def test_the_metrics_of_another_step_are_shown_and_the_running_ones_alarms(run: Watched):
    with run.held():
        run.log({"iteration": 1, **KL})
        look = Watch(run.store, "mine", "sft").look()
    assert look is not None
    assert look.step is not None
    assert look.step.name == "sft"
    assert [alarm.step for alarm in look.alarms] == ["sft", "ppo"]


def test_all_runs_with_their_alarms(run: Watched):
    Watched(run.store, "second")
    broken = run.store.root / "runs/broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{")
    overview = Overview(run.store)
    with run.held():
        run.log({"iteration": 1, **KL})
        found = {one.name: (one.state, num) for one, num in overview.look()}
    assert found == {"mine": ("running", 2), "second": ("running", 2)}  # they share their steps
    assert {one.name: (one.state, num) for one, num in overview.look()} == {
        "mine": ("interrupted", 1),
        "second": ("interrupted", 1),
    }


@pytest.mark.parametrize("text", ["", "[]", '{"samples": 3, "at": 1}', '{"samples": [1], "at": 1}'])
def test_samples_that_cannot_be_read(run: Watched, text: str):
    with run.held():
        (run.work / "samples.json").write_text(text)
        look = Watch(run.store, "mine").look()
    assert look is not None
    assert look.samples == ()


def test_a_step_shows_its_latest_samples_at_most_once_a_second(tmp_path: Path):
    now = [0.0]
    work = Workspace(tmp_path / "work", clock=lambda: now[0])
    for at, seconds in ((1, 0.0), (2, 0.5), (3, 1.0)):
        now[0] = seconds
        work.show(at, [{"prompt": "a", "response": "b", "score": 1.0}])
        shown = json.loads((tmp_path / "work/samples.json").read_text())
        assert shown["at"] == (1 if at < 3 else 3)
    assert not list((tmp_path / "work/out").iterdir())

"""`accord status` of a run that is looked at while it goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli import app
from accord.cli import status as command
from accord.status import RunStatus, StepStatus, StoreStatus
from accord.store.artifacts import Store
from tests.fixtures.watched import Watched


@pytest.fixture
def run(tmp_path: Path) -> Watched:
    run = Watched(Store(tmp_path / "store"))
    run.finish("model")
    run.finish("sft", alarms=[{"name": "a", "what": "that is so", "since": 0}])
    run.progress(4)
    run.log({"iteration": 3, "objective/kl": -3.0, "objective/scores": 0.5}, {"iteration": 4, "objective/kl": 1.25})
    return run


def call(run: Watched, *args: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["status", *args, "--store", str(run.store.root)])
    assert result.exit_code == status, result.output
    return result.output


def test_a_running_step_shows_progress_time_left_metrics_and_alarms(run: Watched) -> None:
    with run.held():
        said = call(run, "mine")
    assert "mine: running, 2 of 3 steps done" in said
    assert "ppo 4/10 iterations, 0:02:10 left" in said
    assert "  ppo, iteration 4: objective/scores 0.5  objective/kl 1.25\n" in said
    assert "  alarm: sft: that is so\n" in said
    assert "  alarm: ppo, from 3 on: the KL was negative in 1 iteration, -3.0 nats" in said
    assert "alarm:" not in call(run)


def test_as_json(run: Watched) -> None:
    with run.held():
        found = json.loads(call(run, "mine", "--json"))
    assert found["metrics"] == {"step": "ppo", "objective/scores": 0.5, "objective/kl": 1.25}
    assert [alarm["name"] for alarm in found["alarms"]] == ["a", "negative_kl"]
    assert found["runs"][0]["steps"][2]["doing"]["seconds_left"] == 130.0
    assert "metrics" not in json.loads(call(run, "--json"))


def test_it_looks_until_the_run_ends(run: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says again what has changed, and nothing else."""
    held, num = run.held(), 0
    held.__enter__()

    def slept(seconds: float) -> None:
        nonlocal num
        num += 1
        if num == 2:
            run.progress(5)
        if num == 4:
            held.__exit__(None, None, None)

    monkeypatch.setattr(command.time, "sleep", slept)
    said = call(run, "mine", "--watch")
    assert num == 4
    assert [line for line in said.splitlines() if line.startswith("mine:")] == [
        "mine: running, 2 of 3 steps done",
        "mine: running, 2 of 3 steps done",
        "mine: interrupted, 2 of 3 steps done",
    ]
    assert "ppo 5/10 iterations" in said
    assert "go on with: accord run" in said


def test_watching_takes_one_run(run: Watched) -> None:
    assert "--watch looks at one run" in call(run, "--watch", status=2)
    assert "there is no run 'mien'" in call(run, "mien", "--watch", status=2)


def test_status_of_a_running_run_does_not_claim_to_watch_it() -> None:
    run = RunStatus("hh", "runs/hh", (StepStatus("sft", "sft", "running"),), "accord run hh.yaml")
    lines = command._status_lines(StoreStatus((run,), (), 0, 0, 0), None, detailed=False)
    assert "  wait for it, or look again with: accord status hh" in lines

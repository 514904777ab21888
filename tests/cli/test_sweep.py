"""The command `accord sweep`: exit statuses, what it prints, and what it leaves. The steps are made up."""

from __future__ import annotations

import json
import os
import signal
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord import cli
from accord.errors import UserError
from accord.recipe import load_recipe
from accord.steps.base import Caution, Job, PlannedStep, PolicyRef, StepConfig, StepKind
from accord.store.artifacts import Store
from accord.sweep.cost import MAX_ESTIMATED, estimate
from accord.sweep.grid import parse_axes
from accord.sweep.runs import plan_sweep
from tests.fixtures.made_up_data import made_up

__all__ = ["made_up"]

runner = CliRunner()


class SourceConfig(StepConfig):
    source: str


class TrainConfig(StepConfig):
    rate: float = 1.0
    start: PolicyRef = "latest"


def train(job: Job) -> None:
    if job.config.rate == 13:
        raise UserError("the KL is not finite", where=job.name)
    if job.config.rate == 99:
        os.kill(os.getpid(), signal.SIGINT)
        job.work.checkpoint_or_stop(0, lambda: ({}, {}))
    job.work.metrics.write(1, score=job.config.rate)


def check(step: PlannedStep) -> list[Caution]:
    return [Caution("rate", "this rate is odd.")] if getattr(step.config, "rate", 0) == 3 else []


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    registry, results = types.ModuleType("accord.steps.registry"), types.ModuleType("accord.results")
    registry.STEPS = {  # type: ignore[attr-defined]
        "model": StepKind("model", 1, SourceConfig, lambda job: None),
        "data": StepKind("data", 1, SourceConfig, lambda job: None),
        "train": StepKind("policy", 1, TrainConfig, train, check=check),
    }
    results.write_report = lambda run_dir, store: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "accord.steps.registry", registry)
    monkeypatch.setitem(sys.modules, "accord.results", results)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text("model: tiny\nsteps:\n  - train: {}\n")
    return path


def sweep(*arguments: str) -> tuple[int, str, str]:
    result = runner.invoke(cli.app, ["sweep", "mine.yaml", "--metric", "train:score", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_sweep_ends_in_a_table(recipe: Path) -> None:
    status, out, _ = sweep("--set", "train.rate=2,3", "--seeds", "3", "--json", "out/found.json")
    assert status == 0, out
    lines = out.splitlines()
    assert lines[:2] == ["model  model  1 to make, of 1", "train  train  6 to make, of 6"]
    assert [line for line in lines if line.endswith("this rate is odd.")] == [lines[2]], "once, and not for each run"
    assert lines[3] == "6 runs of 2 settings: 7 steps to make, of 7"
    assert "run 6 of 6: train.rate=3, seed 3: to run train; cached model" in lines
    assert "train:score of train, seeds 1, 2, 3" in lines
    assert (
        "train.rate=3 is best: the intervals of its paired differences of train:score to all others lie above 0."
        in lines
    )
    assert lines[-1] == "the sweep is in accord-store/sweeps/mine"
    found = json.loads(Path("out/found.json").read_text())
    assert found == json.loads(Path("accord-store/sweeps/mine/sweep.json").read_text())
    assert [row["value"] for row in found["settings"]] == [2, 3]
    same = {"value": 1, "low": 1, "high": 1, "interval": "t", "num_pairs": 3}
    assert [row["difference"] for row in found["settings"]] == [None, same]
    for written in ("table.txt", "table.md", "sweep.html"):
        assert "+1.000 (+1.000 to +1.000)" in Path("accord-store/sweeps/mine", written).read_text(), written
    status, out, _ = sweep("--set", "train.rate=2,3", "--lower")
    assert "train.rate=2 is best: the intervals of its paired differences of train:score to all others lie below" in out
    assert out.splitlines()[3] == "6 runs of 2 settings: 0 steps to make, of 7"


def test_failed_runs_are_status_1(recipe: Path) -> None:
    status, out, _ = sweep("--set", "train.rate=2,13", "--seeds", "1")
    assert status == 1
    assert "0 of 1; 1 failed: train: the KL is not finite" in out


def test_ctrl_c_is_130(recipe: Path) -> None:
    status, _, err = sweep("--set", "train.rate=99,2", "--seeds", "1")
    assert status == 130
    assert "the same command goes on" in err
    assert "interrupted" in Path("accord-store/sweeps/mine/sweep.json").read_text()


def test_mistakes_show_before_anything_runs(recipe: Path) -> None:
    for arguments, says in (
        (("--set", "train.rate=2,x"), "(in the run with train.rate=x)"),
        (("--seeds", "0"), "--seeds 0: without a seed there is no run"),
        (("--metric", "tarin:score"), "Did you mean 'train'?"),
        (("--name", "a/b"), "cannot be the name of a sweep"),
        (("--policy", "train"), "do not go together"),
    ):
        status, out, err = sweep(*arguments)
        assert (status, out) == (2, ""), err
        assert says in err
    assert not Path("accord-store").exists()


STEPS = "  - reject: {prompts: mine.prompts, reward: rule, num_samples: 2, max_response_tokens: 4}\n"


@pytest.fixture
def real(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("f.py").write_text("def rule(responses):\n    return [len(text) for text in responses]\n")
    head = f"model: {json.dumps(str(tiny_model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
    Path("real.yaml").write_text(head + "  - reward_function: {name: rule, file: f.py, function: rule}\n" + STEPS)
    return Path("real.yaml")


def test_the_estimate_counts_shared_steps_once(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accord.steps.registry import STEPS as kinds

    axes = parse_axes(["reject.learning_rate=1e-4,1e-3"])
    planned = plan_sweep(load_recipe(real), axes, kinds, seeds="2", metric="reject:loss")
    # The model and the data for all, and for each of 2 seeds the rule and 2 rejections.
    said = estimate(list(planned.runs), kinds, Store(Path("s")))
    assert said.startswith("4 runs of 2 settings: 8 steps to make, of 8; about 0:0")
    assert "GiB of disk (" in said
    monkeypatch.setattr("accord.estimate.check.free_disk", lambda root: 1000)
    with pytest.raises(UserError, match=r"the sweep will write about 0\.0 GiB, and 0\.0 GiB are free") as caught:
        estimate(list(planned.runs), kinds, Store(Path("s")))
    assert "Take fewer values or seeds" in caught.value.remedy
    assert "4 runs" in estimate(list(planned.runs), kinds, Store(Path("s")), force=True)


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("reject:los", "no run will have a number 'reject:los'\n  Did you mean 'reject:loss'?"),
        ("rule:loss", "no run will have a number 'rule:loss': the step logs counts at most\n  Add an evaluate step"),
    ],
)
def test_a_mistyped_metric_costs_no_run(real: Path, metric: str, says: str) -> None:
    result = runner.invoke(cli.app, ["sweep", str(real), "--metric", metric])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"--metric {metric}: {says}" in result.stderr
    assert not Path("accord-store").exists()


def test_very_many_settings_are_not_estimated(real: Path) -> None:
    from accord.steps.registry import STEPS as kinds

    axes = parse_axes([f"reject.learning_rate={','.join(f'1e-{at}' for at in range(MAX_ESTIMATED + 1))}"])
    planned = plan_sweep(load_recipe(real), axes, kinds, seeds="1", metric="reject:loss")
    assert estimate(list(planned.runs), kinds, Store(Path("s"))) == "13 runs of 13 settings: 16 steps to make, of 16"

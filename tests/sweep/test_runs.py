"""The loop: what is shared, recorded, stopped, and tried again. The steps are made up."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from accord.errors import Interrupted, UserError
from accord.recipe import parse_recipe
from accord.run import run_recipe
from accord.steps.base import Job, PolicyRef, StepConfig, StepKind
from accord.store.artifacts import Store
from accord.store.lock import lock
from accord.sweep.grid import PlannedRun, parse_axes
from accord.sweep.runs import Sweep, overview, plan_sweep, run_sweep

TEXT = "model: tiny\nsteps:\n  - train: {name: sft}\n  - train: {name: ppo}\n"


class Source(StepConfig):
    source: str


class Train(StepConfig):
    rate: float = 1.0
    start: PolicyRef = "latest"


class World:
    """Steps that log their rate times their turn, and do what they are told at one."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.ran: list[str] = []
        self.told: dict[float, BaseException | str] = {}
        self.said: list[str] = []
        self.registry = {
            "model": StepKind("model", 1, Source, lambda job: None),
            "data": StepKind("data", 1, Source, lambda job: None),
            "train": StepKind("policy", 1, Train, self.train),
        }

    def train(self, job: Job) -> None:
        told = self.told.get(job.config.rate)
        if told == "stop":
            os.kill(os.getpid(), signal.SIGINT)
            job.work.checkpoint_or_stop(0, lambda: ({}, {}))
        if isinstance(told, BaseException):
            raise told
        self.ran.append(f"{job.name} {job.config.rate:g}")
        value = float("nan") if told == "nan" else job.config.rate * len(self.ran)
        job.work.metrics.write(1, **{"objective/kl": 0.5, **({"score": value} if told != "silent" else {})})

    def plan(self, *overrides: str, **options: Any) -> Sweep:
        options = {"seeds": "2", "metric": "ppo:score"} | options
        return plan_sweep(parse_recipe(TEXT, Path("r.yaml")), parse_axes(overrides), self.registry, **options)

    def bring(self, run: PlannedRun, say: Any) -> Path:
        return run_recipe(
            run.plan.recipe,
            self.registry,
            self.store,
            name=run.name,
            say=say,
            brief=True,
            min_free_bytes=0,
            min_checkpoint_seconds=0,
        )

    def sweep(self, *overrides: str, retry: bool = False, **options: Any) -> dict[str, Any]:
        self.ran, self.said = [], []
        sweep = self.plan(*overrides, **options)
        folder = run_sweep(sweep, self.store, self.bring, retry=retry, say=self.said.append)
        return self.content(folder)

    def content(self, folder: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((folder / "sweep.json").read_text())
        return content


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "store")


def statuses(content: dict[str, Any]) -> list[str]:
    return [run["status"] for run in content["runs"]]


def test_shared_steps_are_made_once_and_a_second_time_nothing(world: World) -> None:
    content = world.sweep("ppo.rate=2,3")
    assert world.ran == ["sft 1", "ppo 2", "ppo 3"] * 2, "seed by seed, and sft once a seed"
    assert statuses(content) == ["done"] * 4
    # ppo 2 is the 2nd and the 5th that ran, ppo 3 the 3rd and the 6th.
    assert [run["value"] for run in content["runs"]] == [4, 9, 10, 18]
    assert [(row["label"], row["value"], row["low"], row["high"]) for row in content["settings"]] == [
        ("ppo.rate=2", 7, 4, 10),
        ("ppo.rate=3", 13.5, 9, 18),
    ]
    assert content["settings"][0]["beside"] == {"objective/kl": 0.5}
    assert (world.store.root / "runs" / "r-ppo.rate-3-seed-2" / "steps" / "ppo").is_dir()
    assert json.loads((world.store.root / "runs/r-ppo.rate-3-seed-2/plan.json").read_text())["recipe"] == "r.yaml"
    folder = world.store.root / "sweeps" / "r"
    assert {path.name for path in folder.iterdir()} == {"sweep.json", "table.txt", "table.md", "sweep.html"}
    again = world.sweep("ppo.rate=2,3")
    assert world.ran == []
    assert next(line.partition(": ")[2] for line in world.said) == "ppo.rate=2, seed 1: cached"
    assert again | {"created": ""} == content | {"created": ""}


def test_what_does_not_depend_on_a_swept_key_is_warned_of(world: World) -> None:
    (caution,) = overview(world.plan("ppo.rate=2,3", "sft.rate=1,2", metric="sft:score"), world.store)[3:]
    assert caution.startswith("--set ppo.rate: sft:score is compared of 'sft', which is the same for all values")
    assert overview(world.plan("ppo.rate=2", metric="sft:score"), world.store)[3:] == [], "one value is no comparison"


def test_the_plan_is_said_once_and_then_a_line_a_run(world: World) -> None:
    sweep = world.plan("ppo.rate=2,3")
    # One model for all, an sft for each of 2 seeds, a ppo for each of 2 x 2 runs.
    assert overview(sweep, world.store) == [
        "model  model  1 to make, of 1",
        "sft    train  2 to make, of 2",
        "ppo    train  4 to make, of 4",
    ]
    world.sweep("ppo.rate=2,3", seeds="1")
    heads = [line for line in world.said if line.startswith("run ")]
    assert heads == [
        "run 1 of 2: ppo.rate=2, seed 1: to run model, sft, ppo",
        "run 2 of 2: ppo.rate=3, seed 1: to run ppo; cached model, sft",
    ]
    second = world.said[world.said.index(heads[1]) + 1 :]
    assert [line.partition(" in ")[0] for line in second] == ["ppo: running", "ppo: done"], "no plan, nothing cached"
    assert overview(sweep, world.store)[-1] == "ppo    train  2 to make, of 4"
    (caution,) = overview(world.plan("sft.rate=2,3", metric="sft:score"), world.store)[3:]
    assert caution.startswith("the table of an earlier sweep over ppo.rate in "), "and what is swept matters"
    world.sweep("ppo.rate=2,3", seeds="1")
    assert world.said == [f"run {at} of 2: ppo.rate={rate}, seed 1: cached" for at, rate in ((1, 2), (2, 3))]


def test_a_failed_run_is_recorded_and_the_next_is_made(world: World) -> None:
    world.told = {2.0: UserError("the KL is not finite", where="ppo", remedy="Lower it.")}
    content = world.sweep("ppo.rate=2,3")
    assert statuses(content) == ["failed", "done", "failed", "done"]
    assert content["runs"][0]["why"] == "ppo: the KL is not finite"
    assert content["settings"][0]["failures"] == {
        "seed 1": "ppo: the KL is not finite",
        "seed 2": "ppo: the KL is not finite",
    }
    assert "0 of 2; 2 failed: ppo: the KL is not finite" in (world.store.root / "sweeps/r/table.txt").read_text()


def test_failed_runs_are_made_again_only_when_asked(world: World) -> None:
    world.told = {2.0: UserError("no")}
    world.sweep("ppo.rate=2,3")
    world.told = {}
    content = world.sweep("ppo.rate=2,3")
    assert world.ran == []
    assert statuses(content) == ["failed", "done", "failed", "done"]
    assert any("failed before, and is left out (ppo: no); --retry makes it again" in line for line in world.said)
    content = world.sweep("ppo.rate=2,3", retry=True)
    assert world.ran == ["ppo 2", "ppo 2"]
    assert statuses(content) == ["done"] * 4


def test_a_changed_recipe_is_another_run(world: World) -> None:
    world.told = {2.0: UserError("no")}
    world.sweep("ppo.rate=2,3")
    world.told = {}
    assert statuses(world.sweep("ppo.rate=2,3", "sft.rate=5")) == ["done"] * 4


def test_a_fault_of_the_program_costs_one_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.told = {2.0: ZeroDivisionError("by zero\nand more")}
    content = world.sweep("ppo.rate=2,3", seeds="1")
    assert content["runs"][0]["why"] == "ZeroDivisionError: by zero"
    assert "Traceback" in capsys.readouterr().err


def test_a_metric_that_is_not_finite_is_a_failed_run(world: World) -> None:
    world.told = {2.0: "nan"}
    content = world.sweep("ppo.rate=2,3", seeds="1")
    assert [run["why"] for run in content["runs"]] == ["ppo:score is not finite", ""]


def test_a_metric_that_no_run_has_stops_at_the_first(world: World) -> None:
    with pytest.raises(UserError, match="no number 'ppo:scor'") as caught:
        world.sweep("ppo.rate=2,3", metric="ppo:scor")
    assert caught.value.remedy == "Did you mean 'ppo:score'?"
    assert world.ran == ["sft 1", "ppo 2"]


def test_a_metric_that_a_later_run_lacks_is_a_failed_run(world: World) -> None:
    world.told = {3.0: "silent"}
    content = world.sweep("ppo.rate=2,3", seeds="1")
    assert statuses(content) == ["done", "failed"]
    assert "no number 'ppo:score'" in content["runs"][1]["why"]


def test_ctrl_c_stops_and_the_same_command_goes_on(world: World) -> None:
    world.told = {3.0: "stop"}
    with pytest.raises(Interrupted):
        world.sweep("ppo.rate=2,3,4", seeds="1")
    content = world.content(world.store.root / "sweeps" / "r")
    assert statuses(content) == ["done", "interrupted", "to run"]
    assert content["verdict"].startswith("Some runs are still to be made")
    world.told = {}
    assert statuses(world.sweep("ppo.rate=2,3,4", seeds="1")) == ["done"] * 3
    assert world.ran == ["ppo 3", "ppo 4"]


def test_two_sweeps_of_one_name_do_not_get_into_each_others_way(world: World) -> None:
    sweep = world.plan("ppo.rate=2,3")
    with lock(world.store.root / "sweeps" / ".r.lock", "it"), pytest.raises(UserError, match="the sweep 'r' is being"):
        run_sweep(sweep, world.store, world.bring)


def test_a_sweep_has_a_name_of_its_own_if_wanted(world: World) -> None:
    content = world.sweep("ppo.rate=2,3", name="rates", seeds="1")
    assert content["name"] == "rates"
    assert content["runs"][0]["run"] == "rates-ppo.rate-2-seed-1"


def test_a_torn_file_of_a_sweep_is_made_anew(world: World) -> None:
    world.sweep("ppo.rate=2,3")
    (world.store.root / "sweeps" / "r" / "sweep.json").write_text("{")
    assert statuses(world.sweep("ppo.rate=2,3")) == ["done"] * 4

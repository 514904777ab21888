"""The number that a run is compared by: from an evaluation, from a step's log, and what is said when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.errors import UserError
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.base import Job, PolicyRef, StepConfig, StepKind
from accord.sweep.measure import Metric, choose, read

RESULTS: dict[str, Any] = {
    "baseline": "sft",
    "policies": {
        "sft": {"gold_win_rate": 0.5, "kl": 0.0},
        "ppo": {"gold_win_rate": 0.8, "gold_win_rate_low": 0.7, "gold_win_rate_high": 0.9, "kl": 6, "gold_score": 1.5},
        "dpo": {"gold_win_rate": 0.6, "proxy_score": None, "finished": True},
    },
    "reward_model": {"name": "proxy", "accuracy": 0.75},
    "num_prompts": 4,
}


class Source(StepConfig):
    source: str


class Train(StepConfig):
    start: PolicyRef = "latest"


class Evaluate(StepConfig):
    policies: tuple[PolicyRef, ...]


def nothing(job: Job) -> None:
    raise AssertionError("plans run nothing")


REGISTRY = {
    "model": StepKind("model", 1, Source, nothing),
    "data": StepKind("data", 1, Source, nothing),
    "train": StepKind("policy", 1, Train, nothing),
    "evaluate": StepKind("results", 1, Evaluate, nothing),
}


def plan(*steps: str) -> Plan:
    text = "model: tiny\nsteps:\n" + "".join(f"  - {step}\n" for step in steps)
    return make_plan(parse_recipe(text, Path("r.yaml")), REGISTRY)


WITH = plan("train: {}", "evaluate: {policies: [start, train]}")
WITHOUT = plan("train: {}")


def test_the_default_is_the_win_rate() -> None:
    assert choose(None, None, WITH) == Metric("gold_win_rate")
    assert choose("kl", "train", WITH) == Metric("kl", policy="train")
    assert choose("train:eval/loss", None, WITHOUT) == Metric("eval/loss", "train")


@pytest.mark.parametrize(
    ("metric", "policy", "plan", "where", "says"),
    [
        (None, None, WITHOUT, "r.yaml", "the recipe has no evaluate step\n  Add an evaluate step, or name"),
        ("kl", None, WITHOUT, "r.yaml", "no evaluate step, so no run has a 'kl'"),
        ("trian:loss", None, WITHOUT, "--metric trian:loss", "Did you mean 'train'?"),
        (None, "trian", WITH, "--policy trian", "no policy 'trian' is evaluated\n  Did you mean 'train'?"),
        ("train:loss", "train", WITH, "--policy train", "do not go together"),
    ],
)
def test_what_no_run_will_have(metric: str | None, policy: str | None, plan: Plan, where: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        choose(metric, policy, plan)
    assert caught.value.where == where
    assert says in str(caught.value)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    step = tmp_path / "steps" / "ppo"
    step.mkdir(parents=True)
    rows = [{"iteration": 1, "loss": 3.0, "eval_loss": 2.5, "objective/kl": 1}, {"iteration": 2, "loss": 2.0}]
    (step / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (step / "summary.json").write_text('{"num_pairs": 7, "loss": 9, "fit": {"ece": 0.1}, "flags": [1]}')
    return tmp_path


def test_of_an_evaluation(run_dir: Path) -> None:
    found = read(Metric("gold_win_rate", policy="ppo"), run_dir)
    assert (found.value, found.low, found.high, found.of) == (0.8, 0.7, 0.9, "ppo")
    assert found.beside == {"kl": 6.0, "gold_score": 1.5}
    last = read(Metric("gold_win_rate"), run_dir)
    assert (last.value, last.of, last.low, last.beside) == (0.6, "dpo", None, {})
    assert read(Metric("kl", policy="ppo"), run_dir).beside == {"gold_score": 1.5}
    assert read(Metric("reward_model.accuracy"), run_dir).value == 0.75


def test_the_baseline_alone_is_what_there_is(run_dir: Path) -> None:
    only = RESULTS | {"policies": {"sft": {"gold_score": 1.0}}}
    (run_dir / "results.json").write_text(json.dumps(only))
    assert read(Metric("gold_score"), run_dir).of == "sft"


def test_of_a_step(run_dir: Path) -> None:
    found = read(Metric("loss", "ppo"), run_dir)
    assert (found.value, found.of, found.beside) == (2.0, "ppo", {"objective/kl": 1.0})
    assert read(Metric("eval_loss", "ppo"), run_dir).value == 2.5, "the last row that has it"
    assert read(Metric("num_pairs", "ppo"), run_dir).value == 7
    assert read(Metric("fit.ece", "ppo"), run_dir).value == 0.1


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (Metric("gold_win_rat", policy="ppo"), "Did you mean 'gold_win_rate'?"),
        (
            Metric("nothing", policy="ppo"),
            "Known: gold_score, gold_win_rate, kl, num_prompts, reward_model.accuracy.",  # no ends of intervals
        ),
        (Metric("finished"), "no number 'finished'"),
        (Metric("proxy_score"), "no number 'proxy_score'"),
        (Metric("los", "ppo"), "Did you mean 'ppo:loss'?"),
        (Metric("loss", "sft"), "Add an evaluate step, or name a number that a step logs"),
    ],
)
def test_a_number_that_is_not_there(run_dir: Path, metric: Metric, says: str) -> None:
    with pytest.raises(UserError, match="the run has no number") as caught:
        read(metric, run_dir)
    assert says in str(caught.value)

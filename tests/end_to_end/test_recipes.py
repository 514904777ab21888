"""Every other shipped recipe, whole, on a tiny model: it is planned, it runs, and what it says it does is so."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from accord.cli import shipped_recipe
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.steps.registry import STEPS
from accord.sweep.names import evaluated_by, is_count, logged_by
from tests.fixtures.tiny_run import NEED_PEFT, RECIPES, run_tiny

WITH_TESTS_OF_THEIR_OWN = ("quickstart", "llama2-mini", "goodhart")
OTHERS = [name for name in RECIPES if name not in WITH_TESTS_OF_THEIR_OWN]
# What a plan cautions of, and is meant.
MEANT = {"llama2-mini": "redteam.reward: 'rule' decides about what was trained against it"}
POLICIES = {
    "instructgpt": ["start", "sft", "ppo"],
    "ziegler": ["sft", "offline", "online"],
    "dpo": ["start", "sft", "dpo", "kto"],
    "online-dpo": ["sft", "online_dpo", "rloo", "grpo"],
    "lora": ["start", "sft", "ppo"],
    "safety-data": ["start", "sft"],
}

RunOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def run_of(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunOf:
    """Gives the folder of a recipe's finished run. All are in one store, where steps that they share are made once."""
    store = tmp_path_factory.mktemp("recipes")

    @cache
    def run(name: str) -> Path:
        if name in NEED_PEFT:
            pytest.importorskip("peft")
        return run_tiny(tiny_model, store, recipe=name)

    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(run: Path, step: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "steps" / step / "metrics.jsonl").read_text().splitlines()]


def lines(run: Path, step: str, name: str = "train.jsonl") -> list[Any]:
    return [json.loads(line) for line in (run / "steps" / step / name).read_text(encoding="utf-8").splitlines()]


def test_every_shipped_recipe_is_here() -> None:
    shipped = [path.stem for path in shipped_recipe("quickstart").parent.glob("*.yaml")]
    assert sorted((*RECIPES, "llama2", "llama2-7b", "llama2-70b")) == sorted(shipped)
    assert sorted(POLICIES) == sorted(OTHERS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_plan_without_cautions(name: str) -> None:
    if name in NEED_PEFT:
        pytest.importorskip("peft")
    cautions = make_plan(load_recipe(shipped_recipe(name)), STEPS).cautions
    assert [one for one in cautions if name not in MEANT or MEANT[name] not in one] == []
    assert len(cautions) == (name in MEANT)


@pytest.mark.parametrize("name", OTHERS)
def test_every_step_ran_and_every_number_is_finite(run_of: RunOf, name: str) -> None:
    run = run_of(name)
    plan, results = read(run / "plan.json"), read(run / "results.json")
    steps = [step["name"] for step in plan["steps"]]
    assert steps == [step.name for step in make_plan(load_recipe(shipped_recipe(name)), STEPS).steps]
    assert all(step["artifact"] for step in plan["steps"])
    assert list(results["policies"]) == POLICIES[name]
    assert results["seconds"].keys() == {*steps, "total"}
    numbers = list(_numbers(results))
    for step in steps:
        folder = run / "steps" / step
        numbers += _numbers([read(path) for path in folder.glob("*.json")])
        numbers += _numbers(rows(run, step) if (folder / "metrics.jsonl").is_file() else [])
    assert len(numbers) > 200
    assert all(math.isfinite(number) for number in numbers)
    for policy in results["policies"].values():
        assert policy["gold_win_rate_low"] <= policy["gold_win_rate"] <= policy["gold_win_rate_high"]
        assert {"gold_score", "kl", "mean_tokens", "distinct_2"} <= policy.keys()
    assert results["policies"][results["baseline"]]["gold_win_rate"] == 0.5, "a policy against itself"


@pytest.mark.parametrize("name", OTHERS)
def test_every_number_may_be_what_a_sweep_compares(run_of: RunOf, name: str) -> None:
    """The names that are known before a run are those that it logs."""
    run, plan = run_of(name), make_plan(load_recipe(shipped_recipe(name)), STEPS)
    for step in plan.steps:
        known, folder = logged_by(step), run / "steps" / step.name
        assert known is not None
        logged = {key for row in rows(run, step.name) for key in row} if (folder / "metrics.jsonl").is_file() else set()
        summary = read(folder / "summary.json") if (folder / "summary.json").is_file() else {}
        assert {key for key in logged | set(paths(summary)) if not is_count(key)} <= known, step.name
    results = read(run / "results.json")
    known = evaluated_by(plan.steps[-1], [step.name for step in plan.steps])
    assert known is not None
    rest = {key for key in paths({**results, "policies": {}, "run": {}}) if not is_count(key)}
    assert {key for row in results["policies"].values() for key in row} | rest <= known


def paths(found: dict[str, Any], above: str = "") -> Iterator[str]:
    """The dotted paths of the numbers."""
    for name, value in found.items():
        if isinstance(value, dict):
            yield from paths(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield above + name


@pytest.mark.parametrize("name", OTHERS)
def test_the_report_shows_policies_and_training(run_of: RunOf, name: str) -> None:
    run = run_of(name)
    page = (run / "report.html").read_text(encoding="utf-8")
    trained = [step["name"] for step in read(run / "plan.json")["steps"] if step["kind"] in TRAINING]
    assert page.count("<svg") >= 1 + len(trained), "win rates, and curves of each"
    for step in (*POLICIES[name], *trained):
        assert f">{step}<" in page, step
    assert "src=" not in page
    dangling = [path.name for path in run.iterdir() if path.is_symlink() and not path.exists()]
    assert dangling == []


TRAINING = ("sft", "reward", "ppo", "rloo", "grpo", "dpo", "kto", "online_dpo")


@pytest.mark.parametrize("name", OTHERS)
def test_a_second_run_runs_nothing(
    run_of: RunOf, tiny_model: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = run_of(name)
    store, last = run.parents[1], read(run / "plan.json")["steps"][-1]["name"]
    before = _artifacts(store)
    capsys.readouterr()
    run_tiny(tiny_model, store, recipe=name)
    out = capsys.readouterr().out
    assert f"{last}: cached" in out
    assert "running" not in out
    assert _artifacts(store) == before
    assert list(store.glob("work/*/*")) == []


def test_instructgpt_trains_on_demonstrations_beside_the_reward(run_of: RunOf) -> None:
    run = run_of("instructgpt")
    assert read(run / "steps/ppo/summary.json")["ptx_data"]["num_demonstrations"] == 24
    assert all(row["loss/ptx_avg"] > 0 for row in rows(run, "ppo"))
    reward = read(run / "steps/proxy/model/config.json")
    assert (reward["score_gain"], reward["score_offset"] != 0) == (1.0, True), "the mean is shifted, and no more"
    assert 0 <= read(run / "steps/proxy/evaluation.json")["accuracy"] <= 1


def test_ziegler_both_ways_had_as_many_labels(run_of: RunOf) -> None:
    run = run_of("ziegler")
    judgements = {step: [row for row in lines(run, step) if row["judgements"]] for step in LABELS}
    assert {step: len(found) for step, found in judgements.items()} == {"labels": 8, "labels_1": 4, "labels_2": 4}
    assert all(len(row["judgements"]) == 1 for found in judgements.values() for row in found)
    for offline, online in (("samples", "samples_1"), ("samples_1", "samples_2")):
        assert lines(run, offline) != lines(run, online)
    prompts = {step: {row["prompt_id"] for row in lines(run, step)} for step in LABELS}
    assert prompts["labels"] == prompts["labels_1"] | prompts["labels_2"], "and of the same prompts"
    assert read(run / "steps/online_reward_2/summary.json")["num_comparisons"] == 8
    assert {row["policy"] for one in lines(run, "samples_2", "origins.jsonl") for row in one["responses"]} == {
        "halfway"
    }
    reference = {step["name"]: step["config"]["reference"] for step in read(run / "plan.json")["steps"][-2:-1]}
    assert reference == {"online": "sft"}


LABELS = ("labels", "labels_1", "labels_2")


def test_dpo_the_reference_spoke_once(
    run_of: RunOf, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the pairs, the held-out pairs, KTO's responses and their mismatched twins; and not again for another loss."""
    store = shutil.copytree(run_of("dpo").parents[1], tmp_path / "store", symlinks=True)
    before = list(store.glob("artifacts/reference_logprobs-*/manifest.json"))
    assert len(before) == 4
    capsys.readouterr()
    run_tiny(tiny_model, store, "dpo.loss=ipo", "dpo.beta=0.2", recipe="dpo", until="dpo")
    shown = capsys.readouterr()
    assert "dpo: running" in shown.out
    assert re.search(r"dpo: reference.*/\d+ prompts", shown.err) is None
    assert list(store.glob("artifacts/reference_logprobs-*/manifest.json")) == before


def test_kto_had_as_many_good_as_bad(run_of: RunOf) -> None:
    summary = read(run_of("dpo") / "steps/kto/summary.json")
    assert (summary["num_good"], summary["num_bad"]) == (16, 16)
    assert summary["weight_ratio"] == 1


def test_online_methods_differ_and_the_judge_looks_on(run_of: RunOf) -> None:
    run = run_of("online-dpo")
    weights = {(run / "steps" / step / "model/model.safetensors").read_bytes() for step in POLICIES["online-dpo"]}
    assert len(weights) == 4
    for step in ("online_dpo", "rloo", "grpo"):
        assert ["watch/gold" in row for row in rows(run, step)] == [True, False, True]


def test_lora_leaves_adapters_on_one_backbone(run_of: RunOf) -> None:
    ensemble = run_of("lora") / "steps/proxy"
    assert (ensemble / "base/model.safetensors").is_file()
    members = sorted(path.name for path in ensemble.glob("member-*"))
    assert members == ["member-0", "member-1", "member-2"]
    assert all((ensemble / member / "adapter_config.json").is_file() for member in members)
    assert len({(ensemble / member / "adapter_model.safetensors").read_bytes() for member in members}) == 3
    assert read(ensemble / "summary.json")["combine"] == "worst"
    for step, rank in (("sft", 16), ("ppo", 16)):
        folder = run_of("lora") / "steps" / step
        assert read(next(folder.rglob("adapter_config.json")))["r"] == rank
    assert all(row["spread/reward"] > 0 for row in rows(run_of("lora"), "ppo")), "members disagree, and it is logged"
    assert not (run_of("lora") / "reward-model").exists(), "three models are no one folder"


def _artifacts(store: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.glob("artifacts/*/manifest.json")}


def _numbers(found: Any) -> Iterator[float]:
    """All numbers in something that was JSON."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        for one in found:
            yield from _numbers(one)
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield found

"""The recipes for large models: the loop of `llama2`, on clusters on which they fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from accord.cli import shipped_recipe
from accord.errors import UserError
from accord.estimate.cluster_check import OnClusterChecked
from accord.recipe import load_recipe
from bench.cluster_recipes import checked, summary, write_data

FEW = {
    "ordinary_demos": 6, "risky_demos": 3, "ordinary_prompts": 12, "risky_prompts": 6, "ordinary_test": 6,
    "risky_test": 3, "borderline_prompts": 3, "open_pairs": 8,
}  # fmt: skip
SAMPLING = ("helpful_pairs", "safety_pairs", "reject", "ppo", "compare", "ghost_attention", "consistency")
FEWER = [f"{name}.max_response_tokens=8" for name in SAMPLING] + ["ghost_attention.num_dialogues=4"]
# What a model's size changes, and where it is computed.
OF_A_SIZE = {"max_tokens", "learning_rate", "kl_coef", "preset"}


@pytest.mark.parametrize(("name", "kl", "rate"), [("llama2-7b", 0.01, 1e-5), ("llama2-70b", 0.005, 5e-6)])
def test_the_loop_is_the_same(name: str, kl: float, rate: float) -> None:
    own, plain = (yaml.safe_load(shipped_recipe(one).read_text(encoding="utf-8")) for one in (name, "llama2"))
    assert own["data"] == plain["data"]
    assert _without(own["steps"]) == _without(plain["steps"])
    inner = own["steps"][3]["repeat"]["steps"]
    assert next(step["ppo"] for step in inner if "ppo" in step)["kl_coef"] == kl
    assert {step["reward"]["learning_rate"] for step in inner if "reward" in step} == {rate}


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(one) for key, one in value.items() if key not in OF_A_SIZE}
    return [_without(one) for one in value] if isinstance(value, list) else value


def test_7b_fits_on_the_workers_that_it_wants(tmp_path: Path) -> None:
    found = checked_as_it_wants("llama2-7b", "H100", tmp_path)
    found.refuse()
    rows = {step.name: one for step, one in found.to_run}
    assert rows["ppo-1"].least is not None
    assert rows["ppo-1"].least <= found.cluster.gpus
    assert rows["ppo-1"].seconds["sampling"] > 0
    assert rows["ppo-1"].again
    assert len(summary(found)) == 3 + len({step.kind for step, _ in found.to_run})


def test_a_policy_of_70b_samples_on_no_gpu_whole(tmp_path: Path) -> None:
    found = checked_as_it_wants("llama2-70b", "H200", tmp_path)
    fits = {step.name: one.fits for step, one in found.to_run}
    assert (fits["sft"], fits["ppo-1"]) == (True, False), fits
    with pytest.raises(UserError, match=r"the sampler 1\d\d"):
        found.refuse()


def checked_as_it_wants(name: str, gpu: str, folder: Path) -> OnClusterChecked:
    """With few data, and one round."""
    write_data(folder, FEW)
    cluster = load_recipe(shipped_recipe(name)).cluster
    assert cluster is not None
    rounds = ["repeat.rounds=1", "ppo.from_round=1", "ppo.prompts_per_iteration=8"]
    return checked(name, f"{cluster.workers}x{gpu}", folder, [*rounds, *FEWER])

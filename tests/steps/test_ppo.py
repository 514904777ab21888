"""The step: where the value model starts from, and what a stop does not change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import yaml
from safetensors.torch import load_file

from accord.algorithms.shaping import Moments
from accord.engine.learner import Learner
from accord.engine.on_policy import loop as on_policy
from accord.engine.on_policy.averaging import Average
from accord.engine.on_policy.policy_gradient import PolicyGradient
from accord.errors import Interrupted, UserError
from accord.models.scalar import Normalisation, ScalarModel
from accord.overrides import apply_overrides
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.rewards.functions import save_function
from accord.run import _input
from accord.steps.base import Job
from accord.steps.ppo import value_source
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.text.tree import Branch, Tree, TreeBatch
from accord.user_code import Source
from tests.fixtures.tiny_model import make_model, make_tokenizer
from tests.fixtures.tiny_run import SMALLER, run_tiny

BATCH = TreeBatch.from_trees([Tree((3, 4), (Branch((5, 6)),))])


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps this small are slower in two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def reward(tiny_model: Path, tmp_path: Path) -> Path:
    ScalarModel.from_policy(tiny_model, 1).save(tmp_path / "reward/model", {}, Normalisation(0.5, 2.0))
    return tmp_path / "reward"


def source(policy: Path, reward: Path, value_start: str | None = None) -> Path | None:
    """Of a job that trains the policy in a folder with the reward in another."""
    inputs = {"start": SimpleNamespace(model=policy), "reward": SimpleNamespace(artifact=SimpleNamespace(path=reward))}
    config = SimpleNamespace(value_start=value_start)
    return value_source(cast(Job, SimpleNamespace(name="ppo", config=config, input=inputs.__getitem__)))


def test_from_a_reward_model_of_the_policys_tokens_in_its_normalised_units(tiny_model: Path, reward: Path):
    found = source(tiny_model, reward)
    assert found == source(tiny_model, reward, "reward") == reward / "model"
    value, raw = ScalarModel.value_from_reward(found), ScalarModel.load(reward / "model")
    with torch.no_grad():
        torch.testing.assert_close(value.values(BATCH), 2.0 * (raw.values(BATCH) - 0.5))
    assert source(tiny_model, reward, "policy") is None


def test_from_the_policy_when_the_tokens_of_the_reward_model_are_others(tiny_model: Path, reward: Path):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["lighthouse"])
    tokenizer.save_pretrained(reward / "model")
    assert source(tiny_model, reward) is None
    with pytest.raises(UserError) as caught:
        source(tiny_model, reward, "reward")
    assert str(caught.value) == (
        "ppo.value_start: the value model cannot start from the reward, which is no single model with the policy's own "
        "tokens\n  Write `value_start: policy`, or leave it out."
    )


def test_from_the_policy_when_the_reward_is_a_function(tmp_path: Path):
    policy = make_model(tmp_path / "policy", seed=5)
    (tmp_path / "rule").mkdir()
    save_function(tmp_path / "rule", Source("m.py", b"def f(): pass\n"), "f", Normalisation())
    assert source(policy, tmp_path / "rule") is None
    value = ScalarModel.value_from_policy(policy)
    assert value.values(BATCH).tolist() == [0.0, 0.0]
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(
        value.module.get_parameter(name), ScalarModel.load(policy, new_head=True).module.get_parameter(name)
    )


@pytest.fixture(scope="module")
def before(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder, up to the reward model that PPO is for."""
    return run_tiny(tiny_model, tmp_path_factory.mktemp("store"), until="proxy")


SMALL = {
    "prompts": "reviews.prompts",
    "reward": "proxy",
    "start": "sft",
    "num_iterations": 3,
    "prompts_per_iteration": 4,
    "num_samples": 2,
    "max_response_tokens": 8,
    "truncation_score": None,
    "learning_rate": 1e-3,
}
STATEFUL = {
    "kl_target": 0.5,
    "kl_horizon": 0.2,
    "score_normalisation": "running",
    "score_clip": 1.5,
    "ema": 0.9,
    "num_iterations": 4,  # with the one of the value model
    "value_warmup": 1,
    "ptx_data": "reviews.sft",
    "ptx_coef": 0.5,
    "ptx_examples": 1.5,
    "warmup": 0.5,
}
CASES: dict[str, dict[str, Any]] = {
    "separate": STATEFUL,
    "shared": {
        **{key: value for key, value in STATEFUL.items() if key not in ("num_iterations", "value_warmup")},
        "value_model": "shared",
        "entropy_coef": 0.01,
        "kl_in": "loss",
        "kl_estimator": "k2",
        "end_at": "e",
        "num_samples": 6,
        "mask_truncated": True,
        "importance_cap": 2.0,
        "clip_range_high": 0.3,
        "dual_clip": 3.0,
        "max_update_kl_per_token": 1.0,
        "whiten_rewards": True,
    },
    "adapters": {**STATEFUL, "lora": {"rank": 2}, "value_start": "policy"},
    "adapters-shared": {"lora": {"rank": 2}, "value_model": "shared", "ema": 0.9, "value_coef": 0.5},
}


def job(before: Path, tiny_model: Path, work: Workspace, settings: dict[str, Any]) -> Job:
    """PPO of the tiny recipe, with other settings, on what that run made."""
    store = Store(before.parents[1])
    recipe = yaml.safe_load((before / "recipe.yaml").read_text())
    (at,) = (i for i, step in enumerate(recipe["steps"]) if "ppo" in step)
    recipe["steps"] = [*recipe["steps"][:at], {"ppo": SMALL | settings}]
    path = work.folder.with_name(f"{work.folder.name}.yaml")
    path.write_text(yaml.safe_dump(recipe))
    overrides = [one for one in SMALLER if one.startswith(("sft.", "proxy.", "gold_", "reject."))]
    plan = make_plan(apply_overrides(load_recipe(path), [f"model={tiny_model}", *overrides]), STEPS)
    step = plan.step("ppo")
    inputs = {field: tuple(_input(store, link) for link in links) for field, links in step.parents.items()}
    return Job(step.name, step.config, step.seed, inputs, work)


def run(before: Path, tiny_model: Path, folder: Path, settings: dict[str, Any], stop_after: int | None = None) -> Path:
    work = Workspace(
        folder,
        min_checkpoint_seconds=1e9,
        stop=lambda: stop_after is not None and len(work.metrics.read()) >= stop_after,
    )
    step = job(before, tiny_model, work, settings)
    if stop_after is None:
        STEPS["ppo"].run(step)
    else:
        with pytest.raises(Interrupted):
            STEPS["ppo"].run(step)
    return work.out


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(before: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: run(before, tiny_model, folder / name, settings) for name, settings in CASES.items()}


@pytest.fixture(scope="module")
def stopped(before: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace in which the case "separate" stopped after two iterations. To be copied."""
    folder = tmp_path_factory.mktemp("stopped") / "work"
    run(before, tiny_model, folder, CASES["separate"], stop_after=2)
    return folder


@pytest.mark.parametrize("case", ["separate", "shared", "adapters"])
def test_stopped_after_two_it_goes_on_to_the_same_bytes(
    before: Path, tiny_model: Path, tmp_path: Path, whole: dict[str, Path], stopped: Path, case: str
) -> None:
    """Every option that has a state."""
    work = tmp_path / "work"
    if case == "separate":
        copytree(stopped, work)
    else:
        run(before, tiny_model, work, CASES[case], stop_after=2)
    out = run(before, tiny_model, work, CASES[case])
    assert (out / "metrics.jsonl").read_bytes() == (whole[case] / "metrics.jsonl").read_bytes()
    weights = "model/model.safetensors"
    assert (out / weights).read_bytes() == (whole[case] / weights).read_bytes()
    assert (out / "summary.json").read_bytes() == (whole[case] / "summary.json").read_bytes()


@pytest.mark.parametrize("lost", ["coefficient", "moments", "average", "value"])
def test_a_state_that_is_lost_shows(
    before: Path,
    tiny_model: Path,
    tmp_path: Path,
    whole: dict[str, Path],
    stopped: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    """The negative control: without one of its states the run goes on to something else."""
    work = copytree(stopped, tmp_path / "work")
    if lost == "moments":
        monkeypatch.setattr(on_policy, "Moments", lambda **state: Moments())
    load_state = Learner.load_state
    if lost == "coefficient":
        monkeypatch.setattr(PolicyGradient, "load", lambda self, checkpoint, state: None)
    if lost == "average":
        monkeypatch.setattr(Average, "load", lambda self, tensors: None)
    if lost == "value":
        monkeypatch.setattr(
            Learner, "load_state", lambda self, t: None if "master.score.weight" in t else load_state(self, t)
        )
    out = run(before, tiny_model, work, CASES["separate"])
    weights = "model/model.safetensors"
    assert (out / weights).read_bytes() != (whole["separate"] / weights).read_bytes()


def test_every_setting_shows_in_the_metrics(whole: dict[str, Path]) -> None:
    separate, shared = rows(whole["separate"]), rows(whole["shared"])
    assert [row["phase"] for row in separate] == [0.0, 1.0, 1.0, 1.0]
    assert [row["policy/num_updates"] for row in separate] == [0.0, 2.0, 2.0, 2.0]
    assert len({row["objective/kl_coef"] for row in separate}) > 2
    assert all(-1.5 <= row["objective/shaped_scores"] <= 1.5 for row in separate)
    assert all(row["policy/first_ratio"] == 1.0 for row in [*separate[1:], *shared])
    assert all(row["loss/kl_avg"] >= 0 for row in shared)
    assert all("loss/ptx_avg" in row for row in [*separate[1:], *shared])
    assert "loss/ptx_avg" not in separate[0]
    assert separate[1]["objective/kl"] == 0.0, "in the warm-up the policy does not move"
    assert all(row["response/finished"] < 1 for row in shared)


def test_a_head_of_the_policys_is_in_no_folder(whole: dict[str, Path], tiny_model: Path) -> None:
    names = load_file(tiny_model / "model.safetensors").keys()
    for case in ("shared", "adapters-shared"):
        assert load_file(whole[case] / "model/model.safetensors").keys() == names


def test_the_summary_has_what_was_used_and_why_the_run_ended(before: Path, tiny_model: Path, tmp_path: Path) -> None:
    settings = {"stop_at_kl": 1e-6, "ptx_data": "reviews.sft", "ptx_coef": 0.1}
    out = run(before, tiny_model, tmp_path, settings)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stopped_at_kl"] == rows(out)[-1]["objective/kl"] > 1e-6
    assert summary["num_iterations"] == len(rows(out)) < 3
    assert summary["ptx_data"]["num_demonstrations"] == 24
    assert (out / "model/model.safetensors").is_file()


def test_what_stops_at_a_kl_is_kept_as_it_is_after_the_update_of_that_iteration(
    before: Path, tiny_model: Path, tmp_path: Path
) -> None:
    stopped = run(before, tiny_model, tmp_path / "stopped", {"stop_at_kl": 1e-6})
    done = rows(stopped)
    assert [row["objective/kl"] > 1e-6 for row in done] == [False, True]
    assert done[-1]["policy/num_updates"] == 2
    asked = run(before, tiny_model, tmp_path / "asked", {"num_iterations": 2})
    weights = "model/model.safetensors"
    assert (stopped / weights).read_bytes() == (asked / weights).read_bytes()
    shorter = run(before, tiny_model, tmp_path / "shorter", {"num_iterations": 1})
    assert (stopped / weights).read_bytes() != (shorter / weights).read_bytes()

"""Which swept keys change what is compared: the policy, what it is compared with, and how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.sweep.grid import parse_axes
from accord.sweep.measure import Reading
from accord.sweep.runs import _of, overview, plan_sweep

TEXT = """\
model: smollm2-135m-instruct
data: {reviews: 'builtin:film-reviews'}
steps:
  - sft: {data: reviews.sft}
  - reward: {name: proxy, data: reviews.proxy, tie_below: 0.5}
  - reward: {name: gold, data: reviews.gold_test, tie_below: 0.5, start: model}
  - rloo: {prompts: reviews.prompts, reward: proxy, start: sft}
  - ppo: {prompts: reviews.prompts, reward: proxy, start: sft, lora: {rank: 4}, learning_rate: 1e-4}
  - evaluate: {policies: [ppo, rloo, sft], baseline: sft, by: gold, prompts: reviews.test_prompts}
"""


@pytest.mark.parametrize(
    ("axis", "options", "warned"),
    [
        ("rloo.kl_coef=0.1,0.2", {}, False),  # the last one that is not the baseline
        ("ppo.kl_coef=0.1,0.2", {}, True),
        ("ppo.kl_coef=0.1,0.2", {"policy": "ppo"}, False),
        ("ppo.kl_coef=0.1,0.2", {"metric": "ppo:objective/kl"}, False),
        ("ppo.kl_coef=0.1,0.2", {"metric": "rloo:objective/kl"}, True),
        ("gold.num_epochs=1,2", {}, False),  # the judge
        ("sft.num_epochs=1,2", {}, False),
        ("evaluate.max_response_tokens=16,32", {}, False),
    ],
)
def test_a_key_that_changes_nothing(tmp_path: Path, axis: str, options: dict[str, str], warned: bool) -> None:
    sweep = plan_sweep(parse_recipe(TEXT, Path("r.yaml")), parse_axes([axis]), STEPS, **options)  # type: ignore[arg-type]
    said = [line for line in overview(sweep, Store(tmp_path)) if line.startswith("--set")]
    assert len(said) == warned


def test_runs_that_evaluate_different_policies(tmp_path: Path) -> None:
    """Each is checked: a policy that some run does not evaluate is refused, and a baseline alone is nothing."""
    recipe = parse_recipe(TEXT, Path("r.yaml"))
    plan_sweep(recipe, parse_axes(["evaluate.policies=[sft,rloo],[sft,ppo]"]), STEPS)
    with pytest.raises(UserError, match=r"evaluate\.policies=.*: no policy 'rloo' is evaluated"):
        plan_sweep(recipe, parse_axes(["evaluate.policies=[sft,rloo],[sft,ppo]"]), STEPS, policy="rloo")
    with pytest.raises(UserError, match="'sft' alone is evaluated, and it is the baseline"):
        plan_sweep(recipe, parse_axes(["evaluate.policies=[sft,rloo],[sft]"]), STEPS)


def test_whose_number_it_is() -> None:
    assert _of([Reading(1.0, "ppo"), Reading(2.0, "ppo")]) == "ppo"
    assert _of([Reading(1.0, "sft"), Reading(2.0, "ppo")]) == "each run's last policy"
    assert _of([]) == ""


def test_a_table_of_other_keys_is_said_to_be_replaced(tmp_path: Path) -> None:
    store, recipe = Store(tmp_path), parse_recipe(TEXT, Path("r.yaml"))
    sweep = plan_sweep(recipe, parse_axes(["rloo.kl_coef=0.1,0.2"]), STEPS, name="mine")
    folder = sweep.folder(store)
    folder.mkdir(parents=True)
    for keys, said in ((["rloo.kl_coef"], False), (["sft.num_epochs"], True)):
        (folder / "sweep.json").write_text(json.dumps({"set": {key: ["1"] for key in keys}}))
        found = [line for line in overview(sweep, store) if "is replaced" in line]
        assert bool(found) == said
    assert "an earlier sweep over sft.num_epochs" in found[0]

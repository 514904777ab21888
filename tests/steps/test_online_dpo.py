"""Online DPO as a step: what comes out, what a stop does not change, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from accord.engine.sizes import Known, Records, Sizes
from accord.errors import Interrupted, UserError
from accord.models import compute
from accord.models.cost import Dimensions
from accord.models.folders import load_tokenizer
from accord.overrides import apply_overrides
from accord.plan import Plan, make_plan
from accord.recipe import load_recipe, parse_recipe
from accord.run import _input
from accord.steps.base import Job
from accord.steps.online_dpo import Config, work
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.workspace import Workspace
from accord.text.template import Template
from tests.fixtures.made_up_data import made_up, make_prompts
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

STEP = """\
  - reward_rule: {name: short, rule: length, unit: words, target: 4}
  - reward_rule: {name: varied, rule: distinct}
  - online_dpo:
      prompts: mine.prompts
      reward: short
      num_iterations: 4
      prompts_per_iteration: 4
      num_samples: 3
      max_response_tokens: 8
      learning_rate: 0.003
      truncation_score: null
      watch: [varied]
"""
STATEFUL = {
    "a reference that follows": ["online_dpo.reference_every=1", "online_dpo.ema=0.9", "online_dpo.pairs=all"],
    "adapters": ["online_dpo.lora={rank: 2}", "online_dpo.reference_every=1"],
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan_of(model: Path, *overrides: str, steps: str = STEP) -> Plan:
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n{steps}"
    return make_plan(apply_overrides(parse_recipe(text, Path("few.yaml")), overrides), STEPS)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("kind", STATEFUL)
@pytest.mark.usefixtures("made_up")
def test_stopped_after_two_it_goes_on_to_the_same_bytes(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    finished = run_steps(tmp_path, tiny_model, STEP, *STATEFUL[kind])
    whole = (finished / "steps" / "online_dpo").resolve()
    plan = make_plan(apply_overrides(load_recipe(finished / "recipe.yaml"), STATEFUL[kind]), STEPS)
    step = plan.step("online_dpo")
    store = Store(tmp_path / "store")
    inputs = {field: tuple(_input(store, link) for link in links) for field, links in step.parents.items()}

    def run(stop_after: int | None) -> Path:
        space = Workspace(
            tmp_path / "work",
            min_checkpoint_seconds=1e9,
            stop=lambda: stop_after is not None and len(space.metrics.read()) >= stop_after,
        )
        with patch.object(compute, "compute_dtype", lambda: torch.float32):
            STEPS["online_dpo"].run(Job(step.name, step.config, step.seed, inputs, space))
        return space.out

    with pytest.raises(Interrupted):
        run(2)
    again = run(None)
    assert rows_of(again) == rows_of(whole)
    for file in ("model/model.safetensors", "summary.json"):
        assert (again / file).read_bytes() == (whole / file).read_bytes(), file
    assert json.loads((whole / "summary.json").read_text())["num_prompts"] == 8
    AutoModelForCausalLM.from_pretrained(whole / "model")
    rows = rows_of(whole)
    assert len(rows) == 4
    assert rows[0]["objective/kl"] == 0
    assert "watch/varied" in rows[0]
    assert all("logps/chosen" in row for row in rows if row["pairs/num"])
    assert [row["objective/kl"] for row in rows] == pytest.approx([0] * 4, abs=1e-3)  # the reference is the policy


@pytest.mark.parametrize(
    ("override", "place", "what", "remedy"),
    [
        ("num_samples=1", "num_samples", "compared with the prompt's other ones", "Set num_samples to 2 or more."),
        ("beta=-1", "beta", "greater than 0", "It is -1"),
        ("gamma=1", "gamma", "the loss dpo has no gamma", "use the loss simpo"),
        ("score_normalisation=batch", "score_normalisation", "only the order of a prompt's scores", "Leave out"),
        ("score_clip=3", "score_clip", "score_clip makes ties", "tie_below"),
        ("top_p=0.9", "top_p", "sampled from the whole distribution", "Leave top_p out"),
        ("ptx_coef=1", "ptx_coef", "there is no ptx_data", "Name demonstrations"),
        ("tie_blow=1", "tie_blow", "unknown key", "tie_below"),
    ],
)
@pytest.mark.usefixtures("made_up")
def test_what_cannot_be_meant_is_refused(tiny_model: Path, override: str, place: str, what: str, remedy: str) -> None:
    with pytest.raises(UserError) as caught:
        plan_of(tiny_model, f"online_dpo.{override}")
    assert place in caught.value.where
    assert what in caught.value.what
    assert remedy in caught.value.remedy


@pytest.mark.usefixtures("made_up")
def test_a_loss_without_a_reference_has_none_that_follows(tiny_model: Path) -> None:
    with pytest.raises(UserError, match="the loss simpo has no reference, so none can follow"):
        plan_of(tiny_model, "online_dpo.loss=simpo", "online_dpo.reference_every=2")
    (caution,) = plan_of(tiny_model, "online_dpo.loss=simpo", "online_dpo.reference=start").cautions
    assert "the KL to this one is only measured" in caution


@pytest.mark.usefixtures("made_up")
def test_orpo_at_the_learning_rate_of_the_others_is_warned_of(tiny_model: Path) -> None:
    steps = STEP.replace("learning_rate: 0.003", "loss: orpo")
    (caution,) = plan_of(tiny_model, steps=steps).cautions
    assert "online_dpo.loss: the learning rate is" in caution
    assert caution.endswith("Set learning_rate: 8.0e-6, as its paper does.")
    assert plan_of(tiny_model, "online_dpo.loss=orpo").cautions == ()


@pytest.mark.usefixtures("made_up")
def test_cautions(tiny_model: Path) -> None:
    assert plan_of(tiny_model).cautions == ()
    (caution,) = plan_of(tiny_model, "online_dpo.reference_every=4").cautions
    assert "the run has 4 iterations, so a reference that follows after 4 is never used" in caution


@pytest.mark.usefixtures("made_up")
def test_a_reference_that_follows_and_one_that_stays_are_two_runs(tiny_model: Path, tmp_path: Path) -> None:
    """After the first iteration; the first is the same."""
    rows = {}
    for name, overrides in {"stays": [], "follows": ["online_dpo.reference_every=1"]}.items():
        rows[name] = rows_of(run_steps(tmp_path, tiny_model, STEP, *overrides) / "steps" / "online_dpo")
    assert rows["stays"][0] == rows["follows"][0]
    assert rows["stays"][-1]["loss"] != rows["follows"][-1]["loss"]
    assert rows["stays"][-1]["objective/kl"] > 1e-3


@pytest.mark.parametrize("pairs", ["best-worst", "all"])
def test_the_estimate_by_hand(tiny_model: Path, pairs: str) -> None:
    """8 prompts in two iterations, 4 samples of 8 tokens each; a rule is no model."""
    prompts = Records("prompts", make_prompts(), 8)
    template = Template(load_tokenizer(tiny_model))
    dimensions = Dimensions(2, 32, 64, 4, 2, 8, 512)
    start = Known("start")
    inputs = {"prompts": (Known(records=prompts),), "start": (start,), "reward": (Known(),)}
    config = Config(
        prompts="p", reward="r", num_iterations=2, prompts_per_iteration=4, num_samples=4, max_response_tokens=8,
        num_epochs=3, pairs=pairs,
    )  # fmt: skip
    found = work(config, Sizes(dimensions, template, inputs | {"reference": (), "watch": (), "ptx_data": ()}))
    given = sum(len(template.prompt_ids(prompt)) for prompt in make_prompts())
    branches = 2 if pairs == "best-worst" else 4
    assert found.tokens("forward") == 2 * (given + 8 * 4 * 8)  # policy and reference
    assert found.tokens("train") == 3 * (given + 8 * branches * 8)
    assert found.checkpointed == dimensions.policy_parameters
    moving = work(
        config.model_copy(update={"reference_every": 1}),
        Sizes(dimensions, template, inputs | {"reference": (), "watch": (), "ptx_data": ()}),
    )
    assert moving.checkpointed == dimensions.policy_parameters + dimensions.policy_parameters // 3


@pytest.mark.usefixtures("made_up")
def test_where_every_prompt_ties_the_examples_beside_are_learned_from(tiny_model: Path, tmp_path: Path) -> None:
    same = ["short.rule=contains", "short.unit=null", "short.target=null", "short.words=[xylophonists]"]
    beside = ["online_dpo.ptx_data=mine.demos", "online_dpo.ptx_coef=1"]
    folder = run_steps(tmp_path, tiny_model, STEP, *same, *beside) / "steps"
    assert [row["pairs/num_tied_prompts"] for row in rows_of(folder / "online_dpo")] == [4] * 4
    summary = json.loads((folder / "online_dpo" / "summary.json").read_text())
    assert summary["num_tied_prompts"] == 16
    assert [alarm["name"] for alarm in summary["alarms"]] == ["no_pairs"]
    before, after = (load_file(folder / name / "model" / "model.safetensors") for name in ("model", "online_dpo"))
    assert any(not torch.equal(before[name], after[name]) for name in before)

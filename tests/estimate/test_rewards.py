"""What rewards of every kind are expected to cost those who ask them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.estimate.rows import Estimator
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from tests.fixtures.made_up_data import made_up

__all__ = ["made_up"]

REWARDS = """
  - reward_rule: {name: rule, rule: json}
  - reward_endpoint: {name: far, url: 'https://rewards.example/'}
  - reward: {name: one, data: mine.pairs}
  - reward: {name: five, data: mine.pairs, members: 5, lora: {rank: 2}, start: model}
  - combine: {name: none, rewards: [rule, far]}
  - combine: {name: six, rewards: [none, one, five]}
"""
ASKED = {"rule": 0, "far": 0, "one": 1, "five": 5, "none": 0, "six": 6}


@pytest.fixture(autouse=True)
def data(made_up: str) -> None: ...


def estimator(model: Path, folder: Path, steps: str) -> Estimator:
    text = f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:{steps}"
    return Estimator(make_plan(parse_recipe(text, Path("few.yaml")), STEPS), STEPS, Store(folder / "store"))


def test_as_many_passes_as_models_are_asked(tiny_model: Path, tmp_path: Path):
    reject = "  - reject: {{name: by-{0}, start: model, prompts: mine.prompts, reward: {0}, max_response_tokens: 6}}\n"
    found = estimator(tiny_model, tmp_path, REWARDS + "".join(map(reject.format, ASKED)))
    scored = {name: found.works[f"by-{name}"].tokens("forward") for name in ASKED}
    assert scored["one"] > 0
    assert scored == {name: pytest.approx(num * scored["one"]) for name, num in ASKED.items()}
    assert found.estimate(None, 4).peak > 0


def test_an_ensemble_is_held_as_one_backbone_and_its_adapters(tiny_model: Path, tmp_path: Path):
    reject = "  - reject: {start: model, prompts: mine.prompts, reward: six, max_response_tokens: 6}\n"
    found = estimator(tiny_model, tmp_path, REWARDS + reject)
    backbone, scalar = found.works["five"].saved[0], found.model.dimensions.scalar_parameters
    adapters = found.works["five"].saved[1:]
    assert backbone == scalar
    assert len(adapters) == 5
    scoring = found.works["reject"].phases[1]
    assert sum(scoring.frozen) == scalar + backbone + sum(adapters), "the model `one`, and the ensemble"


def test_an_ensemble_is_trained_member_by_member(tiny_model: Path, tmp_path: Path):
    steps = "\n  - reward: {name: one, data: mine.pairs, lora: {rank: 2}}\n"
    steps += "  - reward: {name: half, data: mine.pairs, lora: {rank: 2}, members: 4, member_share: 0.5}\n"
    works = estimator(tiny_model, tmp_path, steps).works
    assert works["half"].tokens("train") == pytest.approx(2 * works["one"].tokens("train"))
    assert len(works["half"].saved) == 5  # the backbone, and four adapters


def test_a_reward_model_of_others_counts_as_one(tiny_model: Path, tmp_path: Path):
    from accord.models.scalar import Normalisation, ScalarModel

    ScalarModel.from_policy(tiny_model, 1).save(tmp_path / "theirs", {}, Normalisation())
    steps = f"\n  - reward_model: {{name: theirs, source: {json.dumps(str(tmp_path / 'theirs'))}}}\n"
    steps += "  - ppo: {prompts: mine.prompts, reward: theirs, watch: [theirs], max_response_tokens: 6, "
    steps += "prompts_per_iteration: 4}\n"
    found = estimator(tiny_model, tmp_path, steps)
    assert found.works["ppo"].tokens("forward") > 0
    assert found.works["theirs"].saved == [found.model.dimensions.scalar_parameters]

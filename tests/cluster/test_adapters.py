"""Adapters on one backbone, trained by PPO in several processes: what comes out is that of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.cluster.recipes import Recipes, two
from tests.cluster.test_workers import assert_same_results

RECIPE = """\
model: {model}
data: {{asked: {{source: {asked}}}, compared: {{source: {compared}}}}}
{cluster}
steps:
  - reward: {{name: taste, data: compared.train, start: start, batch_size: 6, learning_rate: 1.0e-2, lora: {{rank: 2}}}}
  - ppo: {{prompts: asked.train, reward: taste, num_iterations: 3, prompts_per_iteration: 4, num_samples: 2,
          max_response_tokens: 6, truncation_score: null, learning_rate: 1.0e-2, value_learning_rate: 1.0e-2,
          lora: {{rank: 2}}}}
"""


@pytest.fixture
def recipes(tiny_model: Path, asked: Path, compared: Path, tmp_path: Path) -> Recipes:
    return Recipes(RECIPE, tiny_model, asked, compared, tmp_path)


@pytest.mark.parametrize("sharding", ["none", "full"])
def test_policy_value_and_reward_on_one_backbone_do_as_alone(recipes: Recipes, sharding: str) -> None:
    alone, run = recipes.run("alone"), recipes.run("two", two(sharding=sharding))
    assert_same_results(run, alone, ("taste", "ppo"))
    learned = load_file(alone / "steps" / "ppo" / "adapter" / "adapter_model.safetensors")
    assert any(weight.any() for name, weight in learned.items() if "lora_B" in name), "nothing was learned"

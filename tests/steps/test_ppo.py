"""Where the value model starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.models.scalar import Normalisation, ScalarModel
from accord.rewards.functions import save_function
from accord.steps.ppo import value_model
from accord.text.tree import Branch, Tree, TreeBatch
from accord.user_code import Source
from tests.fixtures.tiny_model import make_model, make_tokenizer

BATCH = TreeBatch.from_rows([[Tree((3, 4), (Branch((5, 6)),))]], 0)


@pytest.fixture
def reward(tiny_model: Path, tmp_path: Path) -> Path:
    ScalarModel.from_policy(tiny_model, 1).save(tmp_path / "reward/model", {}, Normalisation(0.5, 2.0))
    return tmp_path / "reward"


def test_from_a_reward_model_of_the_policys_tokens_in_its_normalised_units(tiny_model: Path, reward: Path):
    value = value_model(tiny_model, reward)
    raw = ScalarModel.load(reward / "model")
    with torch.no_grad():
        torch.testing.assert_close(value.values(BATCH), 2.0 * (raw.values(BATCH) - 0.5))


def test_from_the_policy_when_the_tokens_of_the_reward_model_are_others(tiny_model: Path, reward: Path):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["lighthouse"])
    tokenizer.save_pretrained(reward / "model")
    assert value_model(tiny_model, reward).values(BATCH).tolist() == [0.0, 0.0]


def test_from_the_policy_when_the_reward_is_a_function(tmp_path: Path):
    policy = make_model(tmp_path / "policy", seed=5)
    (tmp_path / "rule").mkdir()
    save_function(tmp_path / "rule", Source("m.py", b"def f(): pass\n"), "f", Normalisation())
    value = value_model(policy, tmp_path / "rule")
    assert value.values(BATCH).tolist() == [0.0, 0.0]
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(
        value.module.get_parameter(name), ScalarModel.load(policy, new_head=True).module.get_parameter(name)
    )

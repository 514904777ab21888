"""What policies are measured at."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.evaluate.policies import observe
from accord.text.tree import TreeBatch, flatten
from tests.fixtures.on_policy import CONFIG, PROMPTS, make_roles, make_rollout, prepare
from tests.fixtures.on_policy import make_shared_ppo as make


def test_the_kl_is_at_temperature_one_whatever_training_sampled_with(tiny_model: Path) -> None:
    """A rollout of training is at its own temperature, and so is its KL. The responses to evaluate are those that
    temperature 1 samples, and their KL is of the two distributions as they are, each response by itself."""
    cold = CONFIG.model_copy(update={"temperature": 0.5, "value_model": "shared"})
    roles, method = make(make_roles(tiny_model, moved=True), cold)
    training, _, _ = prepare(roles, method, cold, make_rollout(roles, cold, key=3))

    sizes = {"num_samples": CONFIG.num_samples, "max_response_tokens": CONFIG.max_response_tokens}
    found = observe(roles.policy, roles.reference, PROMPTS, {}, None, ending=CONFIG, key=(3,), **sizes)
    warm = make_rollout(roles, CONFIG.model_copy(update={"temperature": 1.0}), key=3)
    kl: dict[float, list[float]] = {1.0: [], 0.5: []}
    for tree in warm.trees:
        for response in flatten(tree):
            batch = TreeBatch.from_trees([response])
            for temperature, of_temperature in kl.items():
                with torch.no_grad():
                    ours = roles.policy.token_logprobs(batch, temperature).logprobs
                    theirs = roles.reference.token_logprobs(batch, temperature).logprobs
                of_temperature.append(float((ours - theirs).sum()))
    assert found.kl.ravel() == pytest.approx(kl[1.0], abs=1e-4)
    assert abs(found.kl.mean() - training.kl) > 0.1
    assert abs(found.kl.mean() - sum(kl[0.5]) / len(kl[0.5])) > 0.1

"""Importance weights, where the sampler's probabilities are not the learner's: what they do to an optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine.on_policy.config import GRPOConfig, OnPolicyConfig, RLOOConfig
from accord.engine.on_policy.groups import GRPO, RLOO
from accord.engine.on_policy.methods import POLICY, Scored
from accord.engine.on_policy.policy_gradient import PolicyGradient
from accord.engine.on_policy.scoring import Roles
from tests.fixtures.on_policy import CONFIG, Scores, learn, make_ppo, make_roles, make_rollout, prepare

NAME = "sampling/importance_sampling_ratio/{}"
SETTINGS: dict[str, Any] = {
    "num_samples": 3,
    "num_minibatches": 1,
    "max_response_tokens": 7,
    "max_tokens": 64,
    "kl_coef": 0.0,
    "truncation_score": None,
}
METHODS: dict[str, tuple[OnPolicyConfig, Callable[[Roles, Path, Any], PolicyGradient]]] = {
    "ppo": (CONFIG.model_copy(update=SETTINGS), make_ppo),
    "rloo": (RLOOConfig(**SETTINGS), lambda roles, _, config: RLOO(roles.policy, config)),
    "grpo": (GRPOConfig(**SETTINGS), lambda roles, _, config: GRPO(roles.policy, config)),
    "gspo": (GRPOConfig(**SETTINGS, ratio="sequence"), lambda roles, _, config: GRPO(roles.policy, config)),
}


def step(model: Path, method: str, cap: float | None, factor: float) -> tuple[float, dict[str, float]]:
    """The norm of an optimizer step's gradient, and its metrics. factor: how much likelier what was sampled is to the
    learner than it was to the sampler: each token, or of RLOO, to which it is one action, the response."""
    base, make = METHODS[method]
    config = base.model_copy(update={"importance_cap": cap})
    roles = replace(make_roles(model), reward=Scores(lambda response: float(len(response.text))))
    made = make(roles, model, config)
    rollout = make_rollout(roles, config)
    scored, _, dealt = prepare(roles, made, config, rollout)
    tokens = scored.mask.sum(dim=1, keepdim=True) if method == "rloo" else 1
    other = (scored.logprobs - math.log(factor) / tokens).where(scored.mask, torch.nan)  # what is no token is not read
    apart: Scored = replace(scored, sampler_logprobs=other)
    lesson = made.prepare(apart, [micro for minibatch in dealt[0] for micro in minibatch], warming=False)
    reports = learn(roles, made, lesson, dealt)
    return reports[0][POLICY].grad_norm, lesson.metrics(reports)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_is_multiplied_by_the_ratio_up_to_the_cap(tiny_model: Path, method: str) -> None:
    """A half where the sampler was twice as sure; twice, the cap, where it was a fourth as sure."""
    bare, row = step(tiny_model, method, None, 0.5)
    assert bare > 0
    assert not [name for name in row if name.startswith("sampling/")]
    for factor, weight in ((0.5, 0.5), (4.0, 2.0), (1.0, 1.0)):
        norm, row = step(tiny_model, method, 2.0, factor)
        assert norm == pytest.approx(weight * bare, rel=1e-4)
        assert [row[NAME.format(name)] for name in ("min", "mean", "max")] == pytest.approx([weight] * 3, rel=1e-5)


def test_only_what_is_learned_from_is_in_their_metrics(tiny_model: Path) -> None:
    roles = make_roles(tiny_model)
    config = METHODS["grpo"][0].model_copy(update={"importance_cap": 3.0})
    method = GRPO(roles.policy, config)  # type: ignore[arg-type]
    scored, _, _ = prepare(roles, method, config, make_rollout(roles, config))
    kept = torch.arange(len(scored.kept)) < 2
    sampler = scored.logprobs.clone()
    sampler[0] -= math.log(2)
    sampler[2:] -= 5
    found = method.importance(replace(scored, kept=kept, sampler_logprobs=sampler.where(scored.mask, 0.0)))
    first, second = (int(num) for num in scored.mask[:2].sum(dim=1))
    assert found == pytest.approx({
        NAME.format("min"): 1.0, NAME.format("mean"): (2 * first + second) / (first + second), NAME.format("max"): 2.0
    })  # fmt: skip
    assert method.importance(replace(scored, kept=kept & False)) == {}

"""The gradient of an optimizer step of every method, against its formula on the full logits of each response by itself.

The policy has moved since it sampled, so ratios are not 1 and clips hold some tokens; responses differ in length.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from accord.engine.on_policy.config import GRPOConfig, OnPolicyConfig, PPOConfig, RLOOConfig
from accord.engine.on_policy.groups import GRPO, RLOO
from accord.engine.on_policy.methods import Lesson, Scored
from accord.engine.on_policy.policy_gradient import PolicyGradient
from accord.engine.on_policy.ppo import PPOLesson
from accord.engine.on_policy.scoring import Roles
from accord.engine.rollout import Rollout
from accord.models.attention import TreeAttention
from accord.models.policy import Policy, hidden_states
from accord.text.prompts import PromptBatch
from tests.fixtures.on_policy import Scores, make_roles, make_rollout, make_shared_ppo, prepare

SIZES: dict[str, Any] = {
    "num_iterations": 1,
    "prompts_per_iteration": 5,
    "num_samples": 3,
    "max_response_tokens": 7,
    "max_tokens": 64,
    "num_minibatches": 1,
    "truncation_score": None,
}
ALL: dict[str, Any] = {
    "entropy_coef": 0.05,
    "importance_cap": 1.1,
    "clip_range_high": 0.3,
    "temperature": 0.7,
    "mask_truncated": True,
    "kl_coef": 0.2,
}
IN_LOSS: dict[str, Any] = {"kl_in": "loss", "kl_estimator": "k2", "dual_clip": 1.5}
CASES: dict[str, OnPolicyConfig] = {
    "grpo": GRPOConfig(**SIZES, **ALL),
    "grpo, k2, dual clip": GRPOConfig(**SIZES, **IN_LOSS),
    "grpo of tokens": GRPOConfig(**SIZES, **ALL, aggregation="token"),
    "gspo": GRPOConfig(**{**SIZES, **ALL, "clip_range": 0.02, "clip_range_high": 0.03}, ratio="sequence"),
    "gspo, k2, dual clip": GRPOConfig(**SIZES, **IN_LOSS, ratio="sequence", clip_range=0.01),
    "grpo by a constant": GRPOConfig(**SIZES, **ALL, aggregation="constant"),
    "rloo": RLOOConfig(**SIZES, **ALL, **IN_LOSS),
    "rloo of tokens": RLOOConfig(**SIZES, **ALL, **IN_LOSS, ratio="token"),
    "ppo": PPOConfig(**SIZES, **ALL, value_model="shared"),
    "ppo, values not clipped": PPOConfig(**SIZES, **IN_LOSS, value_model="shared", value_clip_range=None),
}
WEIGHT = "model.layers.0.mlp.up_proj.weight"


def uneven(rollout: Rollout) -> Rollout:
    """Responses of 2 to 6 tokens, some of them unfinished, and a sampler that is wrong by up to 0.2."""
    trees, logprobs, responses = [], [], []
    for p, (tree, of_one, texts) in enumerate(
        zip(rollout.trees, rollout.sampler_logprobs, rollout.responses, strict=True)
    ):
        lengths = [2 + (3 * p + k) % 5 for k in range(3)]
        branches = [replace(branch, ids=branch.ids[:num]) for branch, num in zip(tree.branches, lengths, strict=True)]
        trees.append(replace(tree, branches=tuple(branches)))
        logprobs.append(tuple(tuple(lp + 0.1 * k for lp in of_one[k][: lengths[k]]) for k in range(3)))
        responses.append(tuple(replace(text, finished=k != 1 or p % 2 == 0) for k, text in enumerate(texts)))
    return replace(rollout, trees=tuple(trees), sampler_logprobs=tuple(logprobs), responses=tuple(responses))


def prepared(folder: Path, config: OnPolicyConfig) -> tuple[Roles, PolicyGradient, Scored, Lesson, Any]:
    """A lesson of a rollout, and a policy that has moved since."""
    reward = Scores(lambda response: float(sum(map(ord, response.text)) % 17) / 4)
    roles = replace(make_roles(folder, moved=True), reward=reward)
    method: PolicyGradient
    if isinstance(config, PPOConfig):
        roles, method = make_shared_ppo(roles, config)
    else:
        method = GRPO(roles.policy, config) if isinstance(config, GRPOConfig) else RLOO(roles.policy, config)  # type: ignore[arg-type]
    scored, lesson, dealt = prepare(roles, method, config, uneven(make_rollout(roles, config)))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in roles.policy_learner.masters.values():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return roles, method, scored, lesson, dealt


def states_of(policy: Policy, prompt_ids: tuple[int, ...], ids: tuple[int, ...]) -> Tensor:
    """[tokens, d] of the rows that score a response, which stands alone."""
    width = len(prompt_ids) + len(ids)
    layout = TreeAttention(PromptBatch.of([prompt_ids + ids]).products, torch.float32)
    rows = hidden_states(policy.backbone, torch.tensor([prompt_ids + ids]), torch.arange(width)[None], layout)
    return rows[len(prompt_ids) - 1 : -1]


def clipped(config: OnPolicyConfig, ratio: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
    high = config.clip_range_high or config.clip_range
    loss = -torch.minimum(ratio * advantage, ratio.clamp(1 - config.clip_range, 1 + high) * advantage)
    if config.dual_clip:
        loss = torch.where(advantage < 0, torch.minimum(loss, -config.dual_clip * advantage), loss)
    return loss * weight.exp().clamp(max=config.importance_cap) if config.importance_cap else loss


def loss_by_hand(config: OnPolicyConfig, policy: Policy, head: Tensor | None, scored: Scored, lesson: Any) -> Tensor:
    """Of the whole rollout as one optimizer step."""
    num_responses, num_tokens = int(scored.kept.sum()), int(scored.learned.sum())
    total = torch.zeros(())
    branches = [(tree.prompt_ids, branch.ids) for tree in scored.rollout.trees for branch in tree.branches]
    for s, (prompt_ids, ids) in enumerate(branches):
        if not scored.kept[s]:
            continue
        num = len(ids)
        share = {
            "token": 1 / num_tokens,
            "sequence": 1 / num / num_responses,
            "constant": 1 / config.max_response_tokens / num_responses,
            "sum": 1 / num_responses,
        }[getattr(config, "aggregation", "sum" if isinstance(config, RLOOConfig) else "token")]
        states = states_of(policy, prompt_ids, ids)
        distribution = (states @ policy.head.T / config.temperature).log_softmax(-1)
        logprobs = distribution[torch.arange(num), torch.tensor(ids)]
        old, sampler = scored.logprobs[s, :num], scored.sampler_logprobs[s, :num]
        advantages = lesson.experience.advantages[s, :num]
        log_ratio, log_weight = logprobs - old, old - sampler
        if isinstance(config, RLOOConfig) and config.ratio == "sequence":
            log_ratio, log_weight, advantages = log_ratio.sum(), log_weight.sum(), advantages[0]
        if isinstance(config, GRPOConfig) and config.ratio == "sequence":  # of mean logs, as often as there are tokens
            log_ratio, log_weight = (logs.mean().expand(num) for logs in (log_ratio, log_weight))
        total = total + share * clipped(config, log_ratio.exp(), advantages, log_weight).sum()
        log_r = scored.reference_logprobs[s, :num] - logprobs
        if config.kl_in == "loss":
            kl = {"k2": log_r**2 / 2, "k3": log_r.exp() - 1 - log_r}[config.kl_estimator]
            total = total + share * config.kl_coef * kl.sum()
        total = total + share * config.entropy_coef * (distribution.exp() * distribution).sum()
        if isinstance(config, PPOConfig):
            assert head is not None
            values, before, returns = (states @ head.T)[:, 0], lesson.values[s, :num], lesson.returns[s, :num]
            error, clip = (values - returns) ** 2, config.value_clip_range
            if clip is not None:
                error = torch.maximum(error, (before + (values - before).clamp(-clip, clip) - returns) ** 2)
            total = total + config.value_coef * 0.5 * error.sum() / num_tokens
    return total


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_is_that_of_the_formula(tiny_model: Path, case: str) -> None:
    config = CASES[case]
    roles, method, scored, lesson, dealt = prepared(tiny_model, config)
    for _, terms in lesson.losses(dealt[0][0]):
        roles.policy_learner.add(*terms)
    learned = {"weight": roles.policy.module.get_parameter(WEIGHT)}
    if isinstance(lesson, PPOLesson):
        learned["value head"] = method.value.head.weight  # type: ignore[attr-defined]
    found = {name: parameter.grad for name, parameter in learned.items()}
    total = loss_by_hand(config, roles.policy, learned.get("value head"), scored, lesson)
    for name, expected in zip(learned, torch.autograd.grad(total, list(learned.values())), strict=True):
        torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-4)
        assert float(expected.abs().max()) > 0.01

"""RLOO and GRPO on the tiny model: what a response is worth, and what an optimizer step makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accord.algorithms.group import grpo_advantages, rloo_advantages
from accord.engine.on_policy.config import GRPOConfig, OnPolicyConfig, RLOOConfig
from accord.engine.on_policy.groups import GRPO, RLOO, GroupLesson, GroupMethod
from accord.engine.on_policy.methods import POLICY
from accord.engine.on_policy.scoring import Roles
from accord.types import Response
from tests.fixtures.on_policy import Scores, learn, make_roles, make_rollout, prepare, some_finished

SIZES = {
    "num_iterations": 1,
    "prompts_per_iteration": 5,
    "num_samples": 3,
    "max_response_tokens": 7,
    "max_tokens": 64,
    "truncation_score": None,
}


def say(response: Response) -> float:
    return float(sum(map(ord, response.text)) % 17) / 4


def make(roles: Roles, config: OnPolicyConfig) -> GroupMethod:
    return RLOO(roles.policy, config) if isinstance(config, RLOOConfig) else GRPO(roles.policy, config)  # type: ignore[arg-type]


def roles_of(folder: Path, *, moved: bool = True) -> Roles:
    return replace(make_roles(folder, moved=moved), reward=Scores(say))


def gradient(folder: Path, config: OnPolicyConfig, *, finished: bool = False) -> Tensor:
    """Of the first optimizer step, of one weight, before it is clipped."""
    roles = roles_of(folder)
    rollout = make_rollout(roles, config)
    _, lesson, dealt = prepare(roles, make(roles, config), config, some_finished(rollout) if finished else rollout)
    for _, terms in lesson.losses(dealt[0][0]):
        roles.policy_learner.add(*terms)
    found = roles.policy.module.get_parameter("model.layers.0.mlp.up_proj.weight").grad
    assert found is not None
    return found


@pytest.mark.parametrize("kl_in", ["reward", "loss"])
@pytest.mark.parametrize("kind", [RLOOConfig, GRPOConfig])
def test_the_kl_is_charged_to_the_whole_response_or_not_at_all(
    tiny_model: Path, kind: type[OnPolicyConfig], kl_in: str
) -> None:
    config = kind(**SIZES, kl_coef=0.3, kl_estimator="k2", kl_in=kl_in)  # type: ignore[arg-type]
    roles = roles_of(tiny_model)
    scored, lesson, _ = prepare(roles, make(roles, config), config, make_rollout(roles, config))
    assert isinstance(lesson, GroupLesson)
    half_squares = 0.5 * ((scored.logprobs - scored.reference_logprobs) ** 2)
    of_response = torch.where(scored.mask, half_squares, 0.0).sum(dim=1)
    expected = scored.scores - (0.3 * of_response if kl_in == "reward" else 0.0)
    torch.testing.assert_close(lesson.rewards, expected.view(5, 3))
    advantages = (rloo_advantages if kind is RLOOConfig else grpo_advantages)(expected.view(5, 3))
    torch.testing.assert_close(
        lesson.experience.advantages, torch.where(scored.mask, advantages.view(-1, 1), 0.0), atol=1e-5, rtol=1e-4
    )


CASES = {
    "rloo": RLOOConfig(**SIZES),  # type: ignore[arg-type]
    "rloo of tokens": RLOOConfig(**SIZES, ratio="token", whiten_advantages=True),  # type: ignore[arg-type]
    "grpo": GRPOConfig(**SIZES),  # type: ignore[arg-type]
    "grpo of tokens": GRPOConfig(**SIZES, aggregation="token", scale="batch", clip_range_high=0.28),  # type: ignore[arg-type]
    "gspo": GRPOConfig(**SIZES, ratio="sequence", clip_range=3e-4, clip_range_high=4e-4),  # type: ignore[arg-type]
    "grpo by a constant": GRPOConfig(**SIZES, aggregation="constant", scale="none", entropy_coef=0.01),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", CASES)
def test_the_micro_batch_size_does_not_change_the_update(tiny_model: Path, case: str) -> None:
    """With a response of each prompt left out; and the first ratio is exactly 1."""
    found = []
    for max_tokens in (1, 4096):
        config = CASES[case].model_copy(update={"max_tokens": max_tokens, "mask_truncated": True, "num_samples": 4})
        roles = roles_of(tiny_model)
        rollout = make_rollout(roles, config)
        given = tuple(tuple(replace(r, finished=k != 1) for k, r in enumerate(rs)) for rs in rollout.responses)
        method = make(roles, config)
        _, lesson, dealt = prepare(roles, method, config, replace(rollout, responses=given))
        reports = learn(roles, method, lesson, dealt, 1e-4)
        assert reports[0][POLICY].metrics["ratio"] == pytest.approx(1, abs=1e-6)
        found.append((reports[0][POLICY], roles.policy.head.detach().clone()))
    first, head = found[0]
    assert first.grad_norm > 0
    for report, other in found[1:]:
        assert report.grad_norm == pytest.approx(first.grad_norm, rel=1e-4)
        assert report.metrics == pytest.approx(first.metrics, rel=1e-4, abs=1e-5)
        torch.testing.assert_close(other, head, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", [RLOOConfig, GRPOConfig])
def test_a_masked_response_is_in_no_baseline_and_gives_no_gradient(
    tiny_model: Path, kind: type[OnPolicyConfig]
) -> None:
    """One finished response of three has nothing to be compared with."""
    config = kind(**SIZES, mask_truncated=True, kl_coef=0.0)  # type: ignore[arg-type]
    assert float(gradient(tiny_model, config, finished=True).abs().max()) == 0.0
    assert float(gradient(tiny_model, config.model_copy(update={"mask_truncated": False})).abs().max()) > 0.0


def test_what_is_better_than_its_prompts_others_becomes_likelier(tiny_model: Path) -> None:
    for case in ("rloo", "grpo"):
        config = CASES[case].model_copy(update={"kl_coef": 0.0, "num_minibatches": 1, "entropy_coef": 0.0})
        roles = roles_of(tiny_model)
        rollout = make_rollout(roles, config)
        method = make(roles, config)
        scored, lesson, dealt = prepare(roles, method, config, rollout)
        assert isinstance(lesson, GroupLesson)
        learn(roles, method, lesson, dealt, 1e-4)
        after, _, _ = prepare(roles, method, config, rollout)
        moved = (after.logprobs - scored.logprobs).sum(dim=1)
        worth = lesson.experience.advantages[:, 0]
        assert float((moved * worth).sum()) > 0


def test_metrics_by_hand(tiny_model: Path) -> None:
    config = GRPOConfig(**SIZES, num_minibatches=1)  # type: ignore[arg-type]
    roles = roles_of(tiny_model)
    numbers = iter([1.0, 2.0, 6.0, 5.0, 5.0, 5.0, *[0.0] * 6, -1.0, 0.0, 1.0])
    roles = replace(roles, reward=Scores(lambda response: next(numbers)))
    method = make(roles, config)
    scored, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
    row = lesson.metrics(learn(roles, method, lesson, dealt, 1e-4))
    assert row["reward"] == pytest.approx((9 + 15) / 15)
    assert row["reward_std"] == pytest.approx((7**0.5 + 1) / 5, rel=1e-5)  # of two prompts in five
    assert row["frac_reward_zero_std"] == pytest.approx(3 / 5)
    assert row["kl"] == pytest.approx(float(scored.k3.sum() / scored.mask.sum()))
    assert row["clip_ratio/region_mean"] == 0.0
    assert {"clip_ratio/low_mean", "clip_ratio/high_mean", "loss/kl_avg", "policy/first_ratio"} <= set(row)


def test_a_kl_in_the_rewards_does_not_hide_that_scores_are_equal(tiny_model: Path) -> None:
    """It is what spreads the rewards, and the share is of the scores."""
    config = RLOOConfig(**SIZES, kl_coef=0.3)  # type: ignore[arg-type]
    numbers = iter([1.0, 2.0, 6.0, *[5.0] * 12])
    roles = replace(make_roles(tiny_model, moved=True), reward=Scores(lambda response: next(numbers)))
    _, lesson, _ = prepare(roles, make(roles, config), config, make_rollout(roles, config))
    row = lesson.metrics([])
    assert row["reward_std"] > 7**0.5 / 5 * 1.01
    assert row["frac_reward_zero_std"] == pytest.approx(4 / 5)


def test_one_response_that_is_not_masked_has_nothing_to_differ_from(tiny_model: Path) -> None:
    config = GRPOConfig(**SIZES, mask_truncated=True)  # type: ignore[arg-type]
    roles = roles_of(tiny_model)
    scored, lesson, _ = prepare(roles, make(roles, config), config, some_finished(make_rollout(roles, config)))
    assert lesson.metrics([])["frac_reward_zero_std"] == 1.0
    assert scored.kept.tolist() == scored.own.tolist() == [False, True, False] * 5

"""PPO's value models: separate and shared, their warm-up, and what advantages and returns are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accord.algorithms.advantages import gae, whiten
from accord.engine.on_policy.ppo import VALUE, PPOLesson
from tests.fixtures.on_policy import (
    CONFIG,
    Scores,
    learn,
    make_ppo,
    make_roles,
    make_rollout,
    make_shared_ppo,
    prepare,
    some_finished,
)


def test_without_a_penalty_every_return_is_the_score(tiny_model: Path) -> None:
    """gamma 1, lambda 1: what is to come after each token. Unfinished ones: the fixed score."""
    roles = make_roles(tiny_model)
    config = CONFIG.model_copy(update={"truncation_score": -3.0, "lam": 1.0, "kl_coef": 0.0})
    rollout = some_finished(make_rollout(roles, config))
    scored, lesson, _ = prepare(roles, make_ppo(roles, tiny_model, config), config, rollout)
    assert isinstance(lesson, PPOLesson)
    finished = torch.tensor(rollout.finished)
    expected = torch.where(finished, scored.scores, -3.0)
    assert torch.equal(scored.shaped, expected)
    for row, keep, value in zip(lesson.returns, scored.mask, expected, strict=True):
        torch.testing.assert_close(row[keep], value.expand(int(keep.sum())), atol=1e-5, rtol=0)


def test_rewards_are_whitened_before_and_advantages_after_the_returns_are_taken(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, moved=True)
    config = CONFIG.model_copy(update={"whiten_rewards": True, "gamma": 0.9, "lam": 0.8, "kl_coef": 0.3})
    method = make_ppo(roles, tiny_model, config)
    scored, lesson, _ = prepare(roles, method, config, make_rollout(roles, config))
    assert isinstance(lesson, PPOLesson)
    rewards = method.rewards(scored)
    whitened = whiten(rewards, scored.mask, shift_mean=False)
    assert float(whitened[scored.mask].mean()) == pytest.approx(float(rewards[scored.mask].mean()), abs=1e-5)
    assert float(whitened[scored.mask].var(unbiased=False)) == pytest.approx(1.0, abs=1e-4)
    advantages, returns = gae(whitened, lesson.values, scored.mask, 0.9, 0.8)
    torch.testing.assert_close(lesson.returns, returns)
    torch.testing.assert_close(lesson.returns, torch.where(scored.mask, advantages + lesson.values, 0.0))
    torch.testing.assert_close(lesson.experience.advantages, whiten(advantages, scored.mask))
    plain = config.model_copy(update={"whiten_advantages": False})
    _, lesson, _ = prepare(roles, make_ppo(roles, tiny_model, plain), plain, scored.rollout)
    torch.testing.assert_close(lesson.experience.advantages, advantages)


def test_advantages_may_be_whitened_over_each_minibatch(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, moved=True)
    plain = CONFIG.model_copy(update={"whiten_advantages": False, "num_minibatches": 2})
    rollout = make_rollout(roles, plain)
    scored, lesson, dealt = prepare(roles, make_ppo(roles, tiny_model, plain), plain, rollout)
    assert isinstance(lesson, PPOLesson)
    raw = lesson.experience.advantages
    config = plain.model_copy(update={"whiten_advantages": True, "whiten_over": "minibatch"})
    _, lesson, _ = prepare(roles, make_ppo(roles, tiny_model, config), config, rollout)
    assert isinstance(lesson, PPOLesson)
    for minibatch in dealt[0]:
        rows = scored.rows_of(minibatch)
        learned = lesson.experience_of(minibatch).advantages[rows]
        torch.testing.assert_close(learned, whiten(raw[rows], scored.learned[rows]))
    assert len(dealt[0]) == 2
    assert not torch.allclose(learned, whiten(raw, scored.learned)[rows], atol=1e-3), "of the rollout it is another"


def test_in_the_warm_up_the_value_model_learns_alone(tiny_model: Path) -> None:
    roles = make_roles(tiny_model)
    config = CONFIG.model_copy(update={"value_warmup": 1, "num_minibatches": 1, "num_epochs": 8})
    method = make_ppo(roles, tiny_model, config)
    assert method.num_warmup == 1
    before = {name: master.clone() for name, master in roles.policy_learner.masters.items()}
    _, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config), warming=True)
    reports = learn(roles, method, lesson, dealt)
    assert [set(report) for report in reports] == [{VALUE}] * 8
    assert all(torch.equal(master, before[name]) for name, master in roles.policy_learner.masters.items())
    row = lesson.metrics(reports)
    assert "policy/first_ratio" not in row
    losses = [report[VALUE].metrics["value_loss"] for report in reports]
    assert losses[-1] < losses[0]


def test_a_shared_value_learns_and_starts_at_zero(tiny_model: Path) -> None:
    roles = replace(make_roles(tiny_model), reward=Scores(lambda response: 2.0))
    config = CONFIG.model_copy(update={"value_model": "shared", "kl_coef": 0.0, "truncation_score": None, "lam": 1.0})
    roles, method = make_shared_ppo(roles, config)
    rollout = make_rollout(roles, config)
    scored, lesson, dealt = prepare(roles, method, config, rollout)
    assert isinstance(lesson, PPOLesson)
    assert not lesson.values.any()
    row = lesson.metrics(learn(roles, method, lesson, dealt, 1e-2))
    assert row["loss/value_avg"] > 0
    assert {"val/clipfrac_avg", "value/explained_variance", "policy/first_ratio"} <= set(row)
    _, after, _ = prepare(roles, method, config, rollout)
    assert isinstance(after, PPOLesson)
    assert 0 < float(after.values[scored.mask].mean()) < 4


def test_masked_responses_teach_the_value_model_nothing(tiny_model: Path) -> None:
    norms = []
    for other in (0.0, 1e6):
        reward = Scores(lambda response, other=other: 1.0 if response.finished else other)  # type: ignore[misc]
        roles = replace(make_roles(tiny_model), reward=reward)
        config = CONFIG.model_copy(update={"mask_truncated": True, "truncation_score": None})
        method = make_ppo(roles, tiny_model, config)
        _, lesson, dealt = prepare(roles, method, config, some_finished(make_rollout(roles, config)))
        norms.append([report[VALUE].grad_norm for report in learn(roles, method, lesson, dealt)])
    assert norms[0] == norms[1]
    assert min(norms[0]) > 0


def test_the_value_loss_without_a_clip_is_the_plain_one(tiny_model: Path) -> None:
    found = {}
    for clip in (None, 1e-6):
        roles = make_roles(tiny_model)
        config = CONFIG.model_copy(update={"value_clip_range": clip, "num_minibatches": 1, "num_epochs": 3})
        method = make_ppo(roles, tiny_model, config)
        _, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
        found[clip] = lesson.metrics(learn(roles, method, lesson, dealt, 1e-2))["val/clipfrac_avg"]
    assert found[None] == 0
    assert found[1e-6] > 0

"""The loss that policy gradients share: signs, the KL in the reward and in the loss, what a setting changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from accord.engine.learner import StepReport
from accord.engine.on_policy.config import OnPolicyConfig
from accord.engine.on_policy.methods import POLICY, Scored
from accord.engine.on_policy.policy_gradient import PolicyGradient, PolicyLesson
from accord.engine.on_policy.scoring import Roles
from accord.models.policy import Policy
from accord.text.batching import MicroBatch
from tests.fixtures.on_policy import CONFIG, Scores, learn, make_roles, make_rollout, prepare, some_finished


class Reinforce(PolicyGradient):
    """What a token is worth is the sum of the rewards of its response."""

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> PolicyLesson:
        worth = self.rewards(scored).sum(dim=1, keepdim=True)
        return PolicyLesson(self, self.experience(scored, torch.where(scored.mask, worth, 0.0)))


def config_of(**update: Any) -> OnPolicyConfig:
    base = {"truncation_score": None, "num_minibatches": 1, "kl_coef": 0.0, "max_tokens": 4096}
    return CONFIG.model_copy(update=base | update)


def step(
    roles: Roles, config: OnPolicyConfig, learning_rate: float = 1e-3, **options: Any
) -> tuple[Scored, StepReport, Tensor]:
    """One optimizer step; and what it changed of the logprobs of the responses, [S, R]."""
    method = Reinforce(roles.policy, config, **options)
    rollout = some_finished(make_rollout(roles, config))
    scored, lesson, dealt = prepare(roles, method, config, rollout)
    (report, *_) = learn(roles, method, lesson, dealt, learning_rate)
    after, _, _ = prepare(roles, method, config, rollout)
    return scored, report[POLICY], after.logprobs - scored.logprobs


def test_what_is_rewarded_becomes_likelier_and_the_other_way_round(tiny_model: Path) -> None:
    """The sign of the reward: the finished third of the responses is worth 1, and then -1."""
    for sign in (1.0, -1.0):
        roles = replace(make_roles(tiny_model), reward=Scores(lambda r, sign=sign: sign * r.finished))  # type: ignore[misc]
        scored, _, change = step(roles, config_of())
        finished = torch.tensor(scored.rollout.finished)
        rewarded, others = change[finished].sum() / finished.sum(), change[~finished].sum() / (~finished).sum()
        assert sign * rewarded > 0.1
        assert sign * (rewarded - others) > 0.05


class Immediate(PolicyGradient):
    """What a token is worth is its own reward, less the mean."""

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> PolicyLesson:
        rewards = self.rewards(scored)
        return PolicyLesson(
            self, self.experience(scored, torch.where(scored.mask, rewards - rewards[scored.mask].mean(), 0.0))
        )


@pytest.mark.parametrize(("kl_in", "estimator"), [("reward", "k1"), ("loss", "k2")])
def test_the_penalty_pulls_back_to_the_reference(tiny_model: Path, kl_in: str, estimator: str) -> None:
    """With a constant reward; a flipped sign would push away (Ziegler et al. 2019, 4.4)."""
    roles = replace(make_roles(tiny_model, moved=True), reward=Scores())
    config = config_of(kl_coef=1.0, kl_in=kl_in, kl_estimator=estimator, num_samples=24)
    method = Immediate(roles.policy, config)

    def prepared() -> tuple[Scored, PolicyLesson, Any]:
        return prepare(roles, method, config, make_rollout(roles, config, key=1))  # type: ignore[return-value]

    before, lesson, dealt = prepared()
    for _ in range(3):
        learn(roles, method, lesson, dealt, 3e-3)
    assert before.kl > 0.05
    assert prepared()[0].kl < 0.9 * before.kl


def test_the_penalty_that_is_trained_on_is_the_one_that_is_logged(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, moved=True)
    for estimator in ("k1", "k2", "k3"):
        config = config_of(kl_coef=0.5, kl_estimator=estimator)
        method = Reinforce(roles.policy, config)
        scored, lesson, _ = prepare(roles, method, config, make_rollout(roles, config))
        penalty, rewards = method.penalty(scored), method.rewards(scored)
        ratio = scored.logprobs - scored.reference_logprobs
        by_hand = {"k1": ratio, "k2": ratio**2 / 2, "k3": (-ratio).exp() - 1 + ratio}[estimator]
        torch.testing.assert_close(penalty, torch.where(scored.mask, by_hand, 0.0), atol=1e-6, rtol=1e-5)
        total = float(penalty.sum() / scored.rollout.num_sequences)
        torch.testing.assert_close(rewards.sum(dim=1), scored.shaped - 0.5 * penalty.sum(dim=1))
        row = lesson.metrics([])
        assert row["objective/non_score_reward"] == pytest.approx(-0.5 * total)
        assert row["objective/rlhf_reward"] == pytest.approx(float(scored.shaped.mean()) - 0.5 * total)
        if estimator == "k1":
            assert scored.kl == pytest.approx(total, rel=1e-5)


def test_in_the_loss_there_is_no_penalty_in_the_reward(tiny_model: Path) -> None:
    roles = make_roles(tiny_model, moved=True)
    config = config_of(kl_coef=0.5, kl_in="loss", kl_estimator="k2")
    method = Reinforce(roles.policy, config)
    scored, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
    torch.testing.assert_close(method.rewards(scored).sum(dim=1), scored.shaped)
    (report,) = learn(roles, method, lesson, dealt)
    mean = float(method.penalty(scored).sum() / scored.mask.sum())
    assert report[POLICY].metrics["kl_loss"] == pytest.approx(mean, rel=1e-4)


def test_the_score_lands_on_the_last_token_the_end_of_the_turn_included(tiny_model: Path) -> None:
    roles = replace(make_roles(tiny_model), reward=Scores(lambda response: 7.0))
    rollout = make_rollout(roles, config_of())
    end = roles.policy.template.end_id
    tree = rollout.trees[0]
    branches = (replace(tree.branches[0], ids=(30, 31, end)), *tree.branches[1:])
    logprobs = ((-1.0,) * 3, *rollout.sampler_logprobs[0][1:])
    rollout = replace(
        rollout,
        trees=(replace(tree, branches=branches), *rollout.trees[1:]),
        sampler_logprobs=(logprobs, *rollout.sampler_logprobs[1:]),
    )
    method = Reinforce(roles.policy, config_of())
    scored, _, _ = prepare(roles, method, config_of(), rollout)
    assert method.rewards(scored)[0].tolist() == [0, 0, 7, 0, 0, 0, 0]
    assert method.rewards(scored)[1].tolist() == [0, 0, 0, 0, 0, 0, 7]


def test_entropy_is_raised_when_it_is_rewarded(tiny_model: Path) -> None:
    """With nothing else to learn. Each token's distribution becomes flatter."""
    roles = replace(make_roles(tiny_model), reward=Scores())
    config = config_of(entropy_coef=1.0, num_samples=16, temperature=0.5)
    method = Reinforce(roles.policy, config)
    rollout = make_rollout(roles, config)
    scored, lesson, dealt = prepare(roles, method, config, rollout)
    for _ in range(3):
        learn(roles, method, lesson, dealt, 1e-3)
    after, _, _ = prepare(roles, method, config, rollout)
    assert float(after.entropies[after.mask].mean()) > float(scored.entropies[scored.mask].mean()) + 1e-3


def test_approx_kl_is_per_token_whatever_an_action_is(tiny_model: Path) -> None:
    found = []
    for per_response in (False, True):
        roles = replace(make_roles(tiny_model), reward=Scores(lambda response: float(len(response.text))))
        config = config_of(num_epochs=2)
        method = Reinforce(
            roles.policy, config, per_response=per_response, aggregation="sum" if per_response else "token"
        )
        rollout = make_rollout(roles, config)
        scored, lesson, dealt = prepare(roles, method, config, rollout)
        learn(roles, method, lesson, dealt[:1], 1e-3)
        after, _, _ = prepare(roles, method, config, rollout)
        by_hand = float(((after.logprobs - scored.logprobs) ** 2 / 2)[scored.mask].mean())
        (report,) = learn(roles, method, lesson, dealt[1:], 0.0)
        found.append((report[POLICY].metrics["approx_kl"], by_hand))
    for measured, by_hand in found:  # all responses have 7 tokens, so means over tokens and over responses are one
        assert measured == pytest.approx(by_hand, rel=1e-3)


def test_masked_responses_change_nothing(tiny_model: Path) -> None:
    """Their rewards may be anything, and the mean is over the others."""
    norms = []
    for reward_of_unfinished in (0.0, 1e6):
        reward = Scores(lambda r, other=reward_of_unfinished: 1.0 if r.finished else other)  # type: ignore[misc]
        roles = replace(make_roles(tiny_model), reward=reward)
        _, report, _ = step(roles, config_of(mask_truncated=True))
        norms.append(report.grad_norm)
    assert norms[0] == norms[1] > 0


def test_with_all_masked_no_optimizer_step_is_taken(tiny_model: Path) -> None:
    roles = make_roles(tiny_model)
    config = config_of(mask_truncated=True)
    method = Reinforce(roles.policy, config)
    rollout = make_rollout(roles, config)
    never = tuple(tuple(replace(r, finished=False) for r in of_one) for of_one in rollout.responses)
    _, lesson, dealt = prepare(roles, method, config, replace(rollout, responses=never))
    assert learn(roles, method, lesson, dealt) == [{}]
    assert "policy/first_ratio" not in lesson.metrics([{}])
    alone = {POLICY: StepReport(1.0, True, {"ptx_loss": 3.0})}  # the examples beside are learned all the same
    assert "policy/first_ratio" not in lesson.metrics([alone])
    assert not replace(lesson, method=Reinforce(roles.policy, config_of(max_update_kl_per_token=0.1))).enough(alone)


def scored_with(kl: float) -> Any:
    return SimpleNamespace(kl=kl, rollout=SimpleNamespace(num_sequences=100))


def test_the_coefficient_moves_towards_its_target_and_is_kept(tiny_model: Path) -> None:
    """Horizon 1000, 100 sequences: an error of at least 20 % moves it by 0.2 * 100 / 1000 = 2 %."""
    config = config_of(kl_coef=0.1, kl_target=6.0, kl_horizon_sequences=1000.0)
    method = Reinforce(Policy.load(tiny_model), config)
    assert method.after(scored_with(9.0)) == {}
    assert method.kl_coef == pytest.approx(0.102)
    tensors, state = method.state()
    again = Reinforce(method.policy, config)
    again.load(None, state)  # type: ignore[arg-type]
    assert tensors == {}
    assert again.kl_coef == method.kl_coef
    method.after(scored_with(3.0))
    assert method.kl_coef == pytest.approx(0.102 * 0.98)


def test_the_run_ends_above_the_limit(tiny_model: Path) -> None:
    method = Reinforce(Policy.load(tiny_model), config_of(stop_at_kl=8.0))
    assert method.after(scored_with(8.0)) == {}
    assert method.after(scored_with(8.5)) == {"stopped_at_kl": 8.5}
    method = Reinforce(method.policy, config_of())
    assert method.after(scored_with(1e6)) == {}


def test_the_rest_of_an_iteration_is_left_out_once_the_policy_moved_far(tiny_model: Path) -> None:
    counts = []
    for limit in (None, 1e-6, 1e9):
        roles = replace(make_roles(tiny_model), reward=Scores(lambda response: float(len(response.text))))
        config = config_of(num_epochs=4, max_update_kl_per_token=limit)
        method = Reinforce(roles.policy, config)
        _, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
        counts.append(len(learn(roles, method, lesson, dealt, 1e-3)))
    assert counts == [4, 2, 4], "the first optimizer step is on the policy that sampled, so the second sees it"

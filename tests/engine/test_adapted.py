"""Learning with adapters: the same numbers on a shared backbone as apart, in any micro-batches, and after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accord.algorithms.likelihood import negative_log_likelihood
from accord.engine.config import Optimization
from accord.engine.learner import Learner, StepReport
from accord.engine.on_policy.config import PPOConfig
from accord.engine.on_policy.methods import POLICY, Scored
from accord.engine.on_policy.ppo import PPO, VALUE, PPOLesson, SeparateValue
from accord.engine.on_policy.scoring import Roles
from accord.engine.rollout import roll_out
from accord.models.lora import Lora
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.models.shared import SharedModels, share
from accord.rewards.learned import LearnedReward
from accord.text.tree import Branch, Tree, TreeBatch
from accord.types import Message, Prompt
from tests.fixtures.on_policy import learn, prepare

LORA = Lora(rank=4, alpha=8)
PROMPTS = [Prompt(f"p{i}", (Message("user", "Write one line."),), f"The {word}") for i, word in enumerate("abcd")]
CONFIG = PPOConfig(num_iterations=1, prompts_per_iteration=4, num_samples=2, max_response_tokens=6, max_tokens=64)
TREES = [Tree((5, 6), (Branch((20, 21, 22)), Branch((30,)))), Tree((7,), (Branch((40, 41, 42, 43)),))]


def _policy(folder: Path, seed: int = 1) -> Policy:
    policy = Policy.load(folder)
    policy.adapt(LORA, folder, seed)
    return policy


def _steps(policy: Policy, learner: Learner, which: range, parts: list[list[Tree]]) -> StepReport:
    for _ in which:
        for part in parts:
            batch = TreeBatch.from_trees(part)
            learner.accumulate(negative_log_likelihood(policy.token_logprobs(batch)))
        report = learner.step(0.01)
    return report


def test_micro_batches_do_not_change_the_adapters_gradient(tiny_model: Path) -> None:
    norms, weights = [], []
    for parts in ([TREES], [[TREES[0]], [TREES[1]]]):
        policy = _policy(tiny_model)
        learner = Learner(policy.module, torch.float32, Optimization())
        norms.append(_steps(policy, learner, range(1), parts).grad_norm)
        _steps(policy, learner, range(1), parts)
        weights.append(learner.masters)
    assert norms[0] > 0
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=1e-4, rtol=0)  # two steps of 0.01 by Adam


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("forget", ["", "exp_avg."])
def test_a_resumed_adapter_goes_on_bit_for_bit(tiny_model: Path, dtype: torch.dtype, forget: str) -> None:
    """With a part of the state left out it does not (the negative control). The state holds nothing frozen."""
    policy = _policy(tiny_model)
    learner = Learner(policy.module, dtype, Optimization())
    frozen = {name: p.detach().clone() for name, p in policy.module.named_parameters() if not p.requires_grad}
    _steps(policy, learner, range(2), [TREES])
    saved = {name: tensor.clone() for name, tensor in learner.state().items()}
    _steps(policy, learner, range(2), [TREES])

    assert {name.partition(".")[2] for name in saved} - {""} == set(learner.masters)
    assert all(".lora_" in name for name in learner.masters)
    fresh_policy = _policy(tiny_model, seed=9)
    fresh = Learner(fresh_policy.module, dtype, Optimization())
    if forget:
        saved = {name: torch.zeros_like(t) if name.startswith(forget) else t for name, t in saved.items()}
    fresh.load_state(saved)
    _steps(fresh_policy, fresh, range(2), [TREES])
    same = [torch.equal(weight, fresh.masters[name]) for name, weight in learner.masters.items()]
    assert all(same) == (not forget)
    parameters = dict(policy.module.named_parameters())
    assert all(torch.equal(parameters[name], tensor) for name, tensor in frozen.items())
    assert all(torch.equal(parameters[name], learner.masters[name].to(dtype)) for name in learner.masters)


@dataclass(frozen=True)
class Iteration:
    """What one iteration of PPO found and did, and with what."""

    roles: Roles
    value: Learner
    scored: Scored
    lesson: PPOLesson
    reports: list[dict[str, StepReport]]


def _iterate(policy: SharedModels, reference: Policy, value: SharedModels, reward: LearnedReward) -> Iteration:
    model, critic = policy.policy, value.value
    learner = Learner(model.module, torch.float32, Optimization(), model.trained)
    value_learner = Learner(critic.module, torch.float32, Optimization(), critic.trained)
    roles = Roles(model, learner, reference, reward, {})
    method = PPO(model, SeparateValue(critic, value_learner), CONFIG)
    rollout = roll_out(model, PROMPTS, num_samples=2, max_response_tokens=6, temperature=1.0, key=(0,))
    scored, lesson, dealt = prepare(roles, method, CONFIG, rollout)
    assert isinstance(lesson, PPOLesson)
    return Iteration(roles, value_learner, scored, lesson, learn(roles, method, lesson, dealt))


@pytest.mark.parametrize("kind", ["adapter", "full", "none"])
def test_a_shared_backbone_gives_what_separate_modules_give(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    """A PPO iteration: samples, scores, values, gradients and weights. kind: how the reward model was trained."""
    reward: Path | None = tmp_path / "model"
    model = ScalarModel.from_policy(tiny_model, seed=2)
    if kind == "adapter":
        model.adapt(LORA, tiny_model, 1)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.trained.values():
                parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    model.save(tmp_path / "model", dict(model.trained) if kind == "adapter" else {}, Normalisation(0.25, 2.0))
    if kind == "none":
        reward = None

    def models() -> SharedModels:
        return share(tiny_model, LORA, 7, reference=tiny_model, reward=reward)

    separate_reward = LearnedReward(ScalarModel.load(tmp_path / "model"))
    one, two, three = models(), models(), models()
    assert one.reference is not None
    shared = _iterate(one, one.reference, one, LearnedReward(one.reward) if one.reward else separate_reward)
    apart = _iterate(two, Policy.load(tiny_model), three, separate_reward)
    assert shared.roles.reference.module is shared.roles.policy.module
    assert len({id(m.module) for m in (two.policy, apart.roles.reference, three.value)}) == 3

    got, expected = shared.scored, apart.scored
    assert got.rollout == expected.rollout
    assert got.kl == expected.kl == 0.0
    for name in ("scores", "logprobs", "reference_logprobs"):
        torch.testing.assert_close(getattr(got, name), getattr(expected, name), atol=1e-5, rtol=0)
    for name in ("values", "returns"):
        torch.testing.assert_close(getattr(shared.lesson, name), getattr(apart.lesson, name), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        shared.lesson.experience.advantages, apart.lesson.experience.advantages, atol=1e-5, rtol=0
    )
    assert len(shared.reports) == 2
    assert shared.reports[0][POLICY].metrics["ratio"] == 1.0
    for ours, theirs in zip(shared.reports, apart.reports, strict=True):
        for name in (POLICY, VALUE):
            assert ours[name].grad_norm == pytest.approx(theirs[name].grad_norm, rel=1e-4, abs=1e-5)
            assert ours[name].metrics == pytest.approx(theirs[name].metrics, rel=1e-4, abs=1e-5)
    _assert_close(shared.roles.policy_learner.masters, apart.roles.policy_learner.masters)
    _assert_close(shared.value.masters, apart.value.masters)
    before = models()
    for module, learner in ((before.policy, shared.roles.policy_learner), (before.value, shared.value)):
        assert any(not torch.equal(p, learner.masters[n]) for n, p in module.trained.items())


def _assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-5, rtol=0)

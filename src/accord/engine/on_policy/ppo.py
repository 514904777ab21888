"""PPO on the on-policy loop: a value model, GAE, and a warm-up in which only the value model learns.

Sources: Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019; Stiennon et al. 2020 (a separate value network
that starts from the reward model); Zheng et al. 2023, arXiv:2307.04964 (its warm-up before the first update).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from accord.algorithms.advantages import explained_variance, gae, whiten
from accord.algorithms.loss import Loss
from accord.algorithms.ppo import value_loss
from accord.engine.group import places, shared
from accord.engine.learner import Learner, StepReport, Term
from accord.engine.on_policy.config import PPOConfig
from accord.engine.on_policy.methods import POLICY, Reports, Scored, Trainee
from accord.engine.on_policy.policy_gradient import Experience, PolicyGradient, averages, moved_enough, policy_metrics
from accord.engine.scorer import flat_like, padded, per_token
from accord.models.policy import Policy
from accord.models.scalar import ScalarModel, ValueHead
from accord.text.batching import MicroBatch
from accord.text.tree import TreeBatch

VALUE = "value"  # the name of the value model's learner


@dataclass(frozen=True, slots=True)
class SeparateValue:
    """A value model with weights, or an adapter, and a learner of its own."""

    model: ScalarModel
    learner: Learner

    def values(self, batch: TreeBatch) -> Tensor:
        """[N]: at the row that scores each token."""
        return self.model.values(batch)


@dataclass(frozen=True, slots=True)
class SharedValue:
    """A head on the policy's own hidden states, which learns with the policy."""

    policy: Policy
    head: ValueHead

    def values(self, batch: TreeBatch) -> Tensor:
        """[N]: at the row that scores each token."""
        return self.head(self.policy.scoring_states(batch))


class PPO(PolicyGradient):
    """The method. Values are in the units of the rewards that are trained on."""

    def __init__(self, policy: Policy, value: SeparateValue | SharedValue, config: PPOConfig) -> None:
        super().__init__(policy, config)
        assert isinstance(value, SeparateValue) or not config.value_warmup, (
            "a head of the policy's does not learn alone"
        )
        self.value, self.settings = value, config

    @property
    def trainees(self) -> Mapping[str, Trainee]:
        if isinstance(self.value, SharedValue):
            return {}
        return {VALUE: Trainee(self.value.learner, self.settings.value_learning_rate)}

    @property
    def num_warmup(self) -> int:
        return self.settings.value_warmup

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> PPOLesson:
        config, learned = self.settings, scored.learned
        values, _ = padded(micros, per_token(micros, self.value.values), scored.rollout.trees)
        rewards = self.rewards(scored)
        if config.whiten_rewards:
            rewards = whiten(rewards, learned, shift_mean=False)
        advantages, returns = gae(rewards, values, scored.mask, config.gamma, config.lam)
        if config.whiten_advantages and config.whiten_over == "rollout":
            advantages = whiten(advantages, learned)
        return PPOLesson(self, self.experience(scored, advantages), values, returns, warming)


@dataclass(frozen=True, slots=True)
class PPOLesson:
    """values, returns: [S, R]; a return is the advantage before whitening, plus the value. warming: the policy does not
    learn."""

    method: PPO
    experience: Experience
    values: Tensor
    returns: Tensor
    warming: bool

    def losses(self, minibatch: Sequence[MicroBatch]) -> Iterator[tuple[str, Sequence[Term]]]:
        method, config, policy = self.method, self.method.settings, self.method.policy
        num_units = method.num_units(self.experience.scored, minibatch)
        experience = self.experience_of(minibatch)
        for micro in shared(minibatch, places) if num_units else ():
            batch = micro.batch
            if not self.warming:
                states = policy.scoring_states(batch)
                tokens = policy.logprobs_of(
                    states, batch.targets, config.temperature, entropy_gradient=config.entropy_coef > 0
                )
                terms = method.terms(experience, micro, tokens, num_units)
                if isinstance(method.value, SharedValue):
                    terms.append(self._value_term(micro, method.value.head(states), num_units, config.value_coef))
                yield POLICY, terms
            if isinstance(method.value, SeparateValue):
                yield VALUE, [self._value_term(micro, method.value.values(batch), num_units)]

    def experience_of(self, minibatch: Sequence[MicroBatch]) -> Experience:
        """As an optimizer step learns from it: advantages whitened over the minibatch, where they are to be."""
        config, scored = self.method.settings, self.experience.scored
        if not (config.whiten_advantages and config.whiten_over == "minibatch"):
            return self.experience
        rows, advantages = scored.rows_of(minibatch), self.experience.advantages.clone()
        advantages[rows] = whiten(advantages[rows], scored.learned[rows])
        return replace(self.experience, advantages=advantages)

    def enough(self, report: Mapping[str, StepReport]) -> bool:
        return moved_enough(self.method.config, report)

    def metrics(self, reports: Reports) -> dict[str, float]:
        of_value = [one.metrics for report in reports for one in report.values() if "value_loss" in one.metrics]
        names = {"loss/value_avg": "value_loss", "val/clipfrac_avg": "value_clip_fraction"}
        explained = explained_variance(self.values, self.returns, self.experience.scored.learned)
        row = policy_metrics(self.method, self.experience, reports) | averages(names, of_value)
        return row | {"value/explained_variance": float(explained)}

    def _value_term(self, micro: MicroBatch, values: Tensor, num_units: int, weight: float = 1.0) -> Term:
        scored = self.experience.scored
        trees = scored.rollout.trees
        loss = value_loss(
            values,
            flat_like(micro, self.values, trees),
            flat_like(micro, self.returns, trees),
            flat_like(micro, scored.learned, trees),
            clip_range=self.method.settings.value_clip_range,
        )
        metrics = loss.metrics | {"value_loss": loss.total.detach()}
        return Term(Loss(loss.total, loss.num_units, metrics), num_units, weight)

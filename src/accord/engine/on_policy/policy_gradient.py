"""What PPO, RLOO and GRPO share: the KL penalty and its coefficient, the clipped loss, when to stop.

A method on top of it says what each response token is worth (`Experience.advantages`); where rewards are per token,
`PolicyGradient.rewards` gives them. How token losses are averaged, and whether the response as a whole is one action,
are settings here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from accord.algorithms.advantages import token_rewards
from accord.algorithms.aggregation import Aggregation, TokenWeights, response_sums, token_weights
from accord.algorithms.kl import AdaptiveKL, FixedKL, KLController, k2, kl_loss, token_kl
from accord.algorithms.likelihood import TokenLogprobs
from accord.algorithms.loss import Loss
from accord.algorithms.ppo import policy_loss, truncated_importance
from accord.engine.group import places, shared
from accord.engine.learner import StepReport, Term
from accord.engine.on_policy.config import OnPolicyConfig
from accord.engine.on_policy.methods import POLICY, Lesson, Reports, Scored, Trainee
from accord.engine.scorer import flat_like
from accord.models.policy import Policy
from accord.store.checkpoints import Checkpoint
from accord.text.batching import MicroBatch


@dataclass(frozen=True, slots=True)
class Experience:
    """A scored rollout and what its tokens are worth. advantages: [S, R]. kl_coef: of this iteration. penalty: [S, R],
    the KL estimate that is trained on, in the reward or in the loss."""

    scored: Scored
    advantages: Tensor
    penalty: Tensor
    kl_coef: float


class PolicyGradient(ABC):
    """A method (`accord.engine.on_policy.methods.Method`) that moves the policy along its advantages.

    aggregation: how token losses become one (`accord.algorithms.aggregation`). per_response: the response is one
    action, with its first token's advantage and one ratio: that of its probabilities ("sum"), or the geometric mean of
    its tokens' ratios ("sequence"). KL and entropy in the loss are then sums, or means, over its tokens.
    """

    def __init__(
        self,
        policy: Policy,
        config: OnPolicyConfig,
        *,
        aggregation: Aggregation = "token",
        per_response: bool = False,
    ) -> None:
        assert not per_response or aggregation in ("sum", "sequence"), "a response's own tokens make its ratio"
        self.policy, self.config = policy, config
        self.per_response = per_response
        self.aggregation: Aggregation = aggregation
        self._controller: KLController = FixedKL(config.kl_coef)
        if config.kl_target is not None:
            self._controller = AdaptiveKL(config.kl_coef, config.kl_target, config.horizon)

    @property
    def trainees(self) -> Mapping[str, Trainee]:
        return {}

    @property
    def num_warmup(self) -> int:
        return 0

    @abstractmethod
    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> Lesson: ...

    def after(self, scored: Scored) -> dict[str, Any]:
        self._controller = self._controller.update(scored.kl, scored.rollout.num_sequences)
        limit = self.config.stop_at_kl
        return {"stopped_at_kl": scored.kl} if limit is not None and scored.kl > limit else {}

    def state(self) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
        return {}, {"kl": self._controller.state_dict()}

    def load(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        self._controller = self._controller.with_state(state["kl"])

    @property
    def kl_coef(self) -> float:
        """Of the iteration that comes, or is under way."""
        return self._controller.coef

    def penalty(self, scored: Scored) -> Tensor:
        """[S, R]: the KL estimate that is trained on; the very numbers that are logged, where it is k1 or k3."""
        if self.config.kl_estimator == "k2":
            return token_kl("k2", scored.logprobs, scored.reference_logprobs, scored.mask)
        return scored.k1 if self.config.kl_estimator == "k1" else scored.k3

    def rewards(self, scored: Scored) -> Tensor:
        """[S, R]: the score at the last token, less the KL penalty of each, where that is part of the reward."""
        coef = self.kl_coef if self.config.kl_in == "reward" else 0.0
        return token_rewards(scored.shaped, self.penalty(scored), coef, scored.mask)

    def experience(self, scored: Scored, advantages: Tensor) -> Experience:
        return Experience(scored, advantages, self.penalty(scored), self.kl_coef)

    def importance(self, scored: Scored) -> dict[str, float]:
        """Of the weights of `importance_cap`, of all tokens that are learned from, or responses where these are one
        action: TRL's names. Nothing where there are none."""
        learned, cap = scored.learned, self.config.importance_cap
        if cap is None or not bool(learned.any()):
            return {}
        ratios, sampler = scored.logprobs.where(learned, 0.0), scored.sampler_logprobs.where(learned, 0.0)
        if self.per_response:
            num = learned.sum(dim=1) if self.aggregation == "sequence" else torch.ones(len(learned))
            num, learned = num.clamp(min=1), scored.kept
            ratios, sampler = ratios.sum(dim=1) / num, sampler.sum(dim=1) / num
        weights = truncated_importance(ratios, sampler, cap)[learned]
        found = {"min": weights.min(), "mean": weights.mean(), "max": weights.max()}
        return {f"sampling/importance_sampling_ratio/{name}": float(value) for name, value in found.items()}

    def num_units(self, scored: Scored, minibatch: Sequence[MicroBatch]) -> int:
        """Of an optimizer step's loss: tokens or responses that are learned from."""
        rows = scored.rows_of(minibatch)
        return int((scored.learned if self.aggregation == "token" else scored.kept)[rows].sum())

    def terms(self, experience: Experience, micro: MicroBatch, tokens: TokenLogprobs, num_units: int) -> list[Term]:
        """The policy's loss on a micro-batch, all parts of it averaged over the same tokens in the same way.

        tokens: of the policy that learns. num_units: of the optimizer step.
        """
        config, scored, batch = self.config, experience.scored, micro.batch
        mask = flat_like(micro, scored.learned, scored.rollout.trees)
        longest = config.max_response_tokens
        weights = token_weights(self.aggregation, mask, batch.branch_of_token, max_response_tokens=longest)
        loss = self._policy_loss(experience, micro, tokens.logprobs, mask, weights)
        metrics = loss.metrics | {"policy_loss": loss.total.detach()}
        terms = [Term(Loss(loss.total, loss.num_units, metrics), num_units)]
        if config.kl_in == "loss":
            reference = flat_like(micro, scored.reference_logprobs, scored.rollout.trees)
            of_kl = kl_loss(config.kl_estimator, tokens.logprobs, reference, mask, weights)
            metrics = {"kl_loss": of_kl.total.detach()}
            terms.append(Term(Loss(of_kl.total, of_kl.num_units, metrics), num_units, experience.kl_coef))
        if config.entropy_coef:
            of_entropy = Loss(weights.total(tokens.entropies), weights.num_units, {})
            terms.append(Term(of_entropy, num_units, -config.entropy_coef))
        return terms

    def _policy_loss(
        self, experience: Experience, micro: MicroBatch, logprobs: Tensor, mask: Tensor, weights: TokenWeights
    ) -> Loss:
        config, scored, trees = self.config, experience.scored, experience.scored.rollout.trees
        old = flat_like(micro, scored.logprobs, trees)
        sampler = flat_like(micro, scored.sampler_logprobs, trees)
        advantages = flat_like(micro, experience.advantages, trees)
        if not self.per_response:
            loss = policy_loss(
                logprobs,
                old,
                advantages,
                mask,
                clip_range=config.clip_range,
                clip_range_high=config.clip_range_high,
                dual_clip=config.dual_clip,
                importance_weights=_importance(old, sampler, config.importance_cap),
                weights=weights,
            )
            # As what it is beyond 1, or weights that are rounded would make a mean of ones something else than 1.
            ratio = loss.num_units + weights.total_metric(torch.expm1(logprobs - old))
            return Loss(loss.total, loss.num_units, loss.metrics | {"ratio": ratio})
        batch = micro.batch

        def whole(of_tokens: Tensor) -> Tensor:
            weighted = weights.loss_n * of_tokens.where(mask, 0.0)
            return response_sums(weighted, None, batch.branch_of_token, batch.num_branches)

        rows = scored.rows_of([micro])
        loss = policy_loss(
            whole(logprobs),
            whole(old),
            experience.advantages[rows, 0],
            scored.kept[rows],
            clip_range=config.clip_range,
            clip_range_high=config.clip_range_high,
            dual_clip=config.dual_clip,
            importance_weights=_importance(whole(old), whole(sampler), config.importance_cap),
        )
        per_token = weights.total_metric(k2(logprobs, old))  # so that its unit is the same in every method
        return Loss(loss.total, loss.num_units, loss.metrics | {"approx_kl": per_token})


def _importance(learner: Tensor, sampler: Tensor, cap: float | None) -> Tensor | None:
    return None if cap is None else truncated_importance(learner, sampler, cap)


@dataclass(frozen=True, slots=True)
class PolicyLesson:
    """A lesson that teaches the policy alone."""

    method: PolicyGradient
    experience: Experience

    def losses(self, minibatch: Sequence[MicroBatch]) -> Iterator[tuple[str, Sequence[Term]]]:
        method, config = self.method, self.method.config
        num_units = method.num_units(self.experience.scored, minibatch)
        for micro in shared(minibatch, places) if num_units else ():
            tokens = method.policy.token_logprobs(
                micro.batch, config.temperature, entropy_gradient=config.entropy_coef > 0
            )
            yield POLICY, method.terms(self.experience, micro, tokens, num_units)

    def enough(self, report: Mapping[str, StepReport]) -> bool:
        return moved_enough(self.method.config, report)

    def metrics(self, reports: Reports) -> dict[str, float]:
        return policy_metrics(self.method, self.experience, reports)


def moved_enough(config: OnPolicyConfig, report: Mapping[str, StepReport]) -> bool:
    """Whether the policy had moved further from the one that sampled than `max_update_kl_per_token` allows."""
    limit = config.max_update_kl_per_token
    return limit is not None and POLICY in report and report[POLICY].metrics.get("approx_kl", 0.0) > limit


def policy_metrics(method: PolicyGradient, experience: Experience, reports: Reports) -> dict[str, float]:
    """What is logged of every policy gradient. Names as in TRL's PPO where it has the quantity."""
    scored, coef = experience.scored, experience.kl_coef
    penalty = coef * float(experience.penalty.sum()) / scored.rollout.num_sequences
    row = {
        "objective/kl_coef": coef,
        "objective/non_score_reward": -penalty,
        "objective/rlhf_reward": scored.trained_score - penalty,
        **method.importance(scored),
    }
    of_policy = [report[POLICY].metrics for report in reports if POLICY in report]
    of_policy = [metrics for metrics in of_policy if "ratio" in metrics]  # or it learned from other examples alone
    if of_policy:
        # A stale rollout's first ratios are those of two policies, one update apart.
        name, key = ("first_approxkl", "approx_kl") if scored.stale else ("first_ratio", "ratio")
        row[f"policy/{name}"] = of_policy[0][key]
        names = {
            "policy/approxkl_avg": "approx_kl",
            "policy/clipfrac_avg": "clip_fraction",
            "val/ratio": "ratio",
            "loss/policy_avg": "policy_loss",
            "loss/kl_avg": "kl_loss",
        }
        row |= averages(names, of_policy)
    return row


def averages(names: Mapping[str, str], rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The means over optimizer steps of what was measured in them. names: ours -> the metric's."""
    found = {ours: [row[theirs] for row in rows if theirs in row] for ours, theirs in names.items()}
    return {name: sum(values) / len(values) for name, values in found.items() if values}

"""RLOO and GRPO on the on-policy loop: what a response is worth is what the prompt's other responses are not.

Sources: `accord.algorithms.group`. With the KL in the reward, a response's reward is its score less the penalty of all
its tokens, as both have the response for one action.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accord.algorithms.advantages import whiten
from accord.algorithms.group import grpo_advantages, rloo_advantages
from accord.engine.on_policy.config import GRPOConfig, RLOOConfig
from accord.engine.on_policy.methods import POLICY, Reports, Scored
from accord.engine.on_policy.policy_gradient import PolicyGradient, PolicyLesson, averages
from accord.models.policy import Policy
from accord.text.batching import MicroBatch


class GroupMethod(PolicyGradient):
    """A method that compares the K responses of a prompt."""

    @abstractmethod
    def advantages(self, rewards_pk: Tensor, kept_pk: Tensor) -> Tensor:
        """[P, K]: what each response is worth; 0 where it is not kept."""

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> GroupLesson:
        groups = (len(scored.rollout.trees), -1)
        rewards, kept = self.rewards(scored).sum(dim=1).view(groups), scored.kept.view(groups)
        advantages = self.advantages(rewards, kept).view(-1, 1)
        of_tokens = torch.where(scored.mask, advantages, 0.0)
        return GroupLesson(self, self.experience(scored, of_tokens), rewards, kept)


class RLOO(GroupMethod):
    """REINFORCE with the mean of the others as the baseline. With ratio "token" each token has a ratio of its own, and
    the loss is the same sum over a response's tokens: at ratio 1 the two have one gradient."""

    def __init__(self, policy: Policy, config: RLOOConfig) -> None:
        super().__init__(policy, config, aggregation="sum", per_response=config.ratio == "sequence")
        self.settings = config

    def advantages(self, rewards_pk: Tensor, kept_pk: Tensor) -> Tensor:
        advantages = rloo_advantages(rewards_pk, kept_pk)
        return whiten(advantages, kept_pk) if self.settings.whiten_advantages else advantages


class GRPO(GroupMethod):
    """The group's mean as the baseline, its spread as the unit. With ratio "sequence" it is GSPO."""

    def __init__(self, policy: Policy, config: GRPOConfig) -> None:
        super().__init__(policy, config, aggregation=config.aggregation, per_response=config.ratio == "sequence")
        self.settings = config

    def advantages(self, rewards_pk: Tensor, kept_pk: Tensor) -> Tensor:
        return grpo_advantages(rewards_pk, kept_pk, scale=self.settings.scale)


@dataclass(frozen=True, slots=True)
class GroupLesson(PolicyLesson):
    """rewards: [P, K], what the advantages were made of. kept: [P, K], the responses that are compared."""

    rewards: Tensor
    kept: Tensor

    def metrics(self, reports: Reports) -> dict[str, float]:
        """Those of every policy gradient, and TRL's of GRPO by their names.

        `reward` and `reward_std`: mean, and mean over prompts of the standard deviation (with K - 1), of the rewards
        compared. `frac_reward_zero_std`: the share of the prompts whose scores are all equal, so that nothing is
        learned from the reward there; a KL penalty in the rewards hides none of them. `kl`: the estimate that is
        trained on, a mean over tokens (objective/kl is per sequence). clip_ratio: the share of ratios that a clip
        holds, below, above and in all.
        """
        scored, kept = self.experience.scored, self.kept
        num = kept.sum(dim=1, keepdim=True)
        mean = torch.where(kept, self.rewards, 0.0).sum(dim=1, keepdim=True) / num.clamp(min=1)
        squares = torch.where(kept, (self.rewards - mean) ** 2, 0.0).sum(dim=1, keepdim=True)
        row = PolicyLesson.metrics(self, reports) | {
            "reward": float(torch.where(kept, self.rewards, 0.0).sum() / kept.sum().clamp(min=1)),
            "reward_std": float((squares / (num - 1).clamp(min=1)).sqrt().mean()),
            "frac_reward_zero_std": scored.share_without_spread,
            "kl": float(self.experience.penalty.sum() / scored.mask.sum()),
        }
        names = {
            "clip_ratio/low_mean": "clip_fraction_low",
            "clip_ratio/high_mean": "clip_fraction_high",
            "clip_ratio/region_mean": "clip_fraction",
        }
        return row | averages(names, [report[POLICY].metrics for report in reports if POLICY in report])

"""Online DPO: the ordered pairs among a policy's own samples, and a loss of direct preference optimisation on them.

Guo et al. 2024, "Direct Language Model Alignment from Online AI Feedback", arXiv:2402.04792, with the reward of the
recipe as the one who compares. What is not in a pair is not computed again: a prompt whose samples tie costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from accord.algorithms.pairing import ordered_pairs
from accord.engine.direct.preference import Preferences, RankedTree, responses_in
from accord.engine.group import current
from accord.engine.learner import StepReport, Term, sharding
from accord.engine.on_policy.config import OnlineDPOConfig
from accord.engine.on_policy.methods import POLICY, Reports, Scored, Trainee
from accord.models.adapters import Adapter
from accord.models.policy import Policy
from accord.store.checkpoints import Checkpoint
from accord.text.batching import MicroBatch

_REFERENCE = "reference"  # the group of a checkpoint, and the adapter, that hold a reference that has moved


class OnlinePreference:
    """A method (`accord.engine.on_policy.methods.Method`). Its state is how many iterations there were, and the
    reference once it has moved."""

    def __init__(self, policy: Policy, reference: Policy, config: OnlineDPOConfig) -> None:
        self.policy, self.reference, self.config = policy, reference, config
        self._num_done = 0
        self._moved = False

    @property
    def trainees(self) -> Mapping[str, Trainee]:
        return {}

    @property
    def num_warmup(self) -> int:
        return 0

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> PairLesson:
        return PairLesson(self, scored, pairs_of(scored, self.config))

    def after(self, scored: Scored) -> dict[str, Any]:
        self._num_done += 1
        every = self.config.reference_every
        if every is not None and self._num_done % every == 0:
            self._move_reference(self.policy.trained)
        return {}

    def state(self) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
        groups: dict[str, Mapping[str, Tensor]] = {}
        if self._moved:
            weights = self._reference_weights()
            groups[_REFERENCE] = sharding().kept(weights) if current().size > 1 else weights
        return groups, {"num_done": self._num_done, "moved": self._moved}

    def load(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        self._num_done = state["num_done"]
        if state["moved"]:
            self._move_reference(checkpoint.tensors(_REFERENCE))

    @torch.no_grad()
    def _move_reference(self, weights: Mapping[str, Tensor]) -> None:
        """weights: by the names of the policy's."""
        if isinstance(self.policy.backbone, Adapter) and not self._moved:
            # On the policy's backbone: a reference that had weights of its own lets go of them.
            own = self.policy.backbone.copy(_REFERENCE)
            for parameter in own.parameters.values():
                parameter.requires_grad_(False)
            self.reference.module, self.reference.backbone = self.policy.module, own
        self._moved = True
        for name, target in self._reference_weights().items():
            if current().size > 1:
                sharding().fill(target, weights[name])
            else:
                target.copy_(weights[name])

    def _reference_weights(self) -> dict[str, Tensor]:
        """By the names of the policy's."""
        parameters = self.reference.trained.values()
        return {name: parameter.detach() for name, parameter in zip(self.policy.trained, parameters, strict=True)}


def pairs_of(scored: Scored, config: OnlineDPOConfig) -> list[list[tuple[int, int]]]:
    """For each prompt of a rollout its ordered pairs, (chosen, rejected) samples."""
    pairs, first = [], 0
    scores, kept = scored.shaped.tolist(), scored.kept.tolist()
    for tree in scored.rollout.trees:
        rows = slice(first, first + len(tree.branches))
        responses = [branch.ids for branch in tree.branches]
        pairs.append(ordered_pairs(config.pairs, scores[rows], responses, kept[rows], tie_below=config.tie_below))
        first = rows.stop
    return pairs


@dataclass(frozen=True, slots=True)
class PairLesson:
    """A rollout's pairs, made ready to learn from. pairs: of each prompt."""

    method: OnlinePreference
    scored: Scored
    pairs: Sequence[Sequence[tuple[int, int]]]

    def losses(self, minibatch: Sequence[MicroBatch]) -> Iterator[tuple[str, Sequence[Term]]]:
        config, policy = self.method.config, self.method.policy
        prompts = [i for micro in minibatch for i in micro.indices if self.pairs[i]]
        if not prompts:
            return
        ranked, reference = zip(*(self._ranked(i) for i in prompts), strict=True)
        preferences = Preferences(ranked, reference if config.has_reference else None)
        everything = range(len(prompts))
        for loss in preferences.losses(policy, everything, config, config.max_tokens, config.temperature):
            yield POLICY, [Term(loss, len(prompts))]

    def _ranked(self, prompt: int) -> tuple[RankedTree, Tensor]:
        """A prompt with those of its samples that are in a pair, and what the reference says of these, [K]."""
        tree, pairs = self.scored.rollout.trees[prompt], self.pairs[prompt]
        rows = [prompt * len(tree.branches) + k for k in responses_in(pairs)]
        return RankedTree.of(tree.prompt_ids, tree.branches, pairs), self.scored.reference_logprobs[rows].sum(dim=1)

    def enough(self, report: Mapping[str, StepReport]) -> bool:
        return False

    def metrics(self, reports: Reports) -> dict[str, float]:
        """Means over optimizer steps under TRL's names, and of the pairs: how many, how many prompts have none, and by
        how much the scores of two differ. `frac_reward_zero_std`: the share of the prompts whose scores are all equal;
        those without a pair may be more."""
        num_samples = len(self.scored.rollout.trees[0].branches)
        scores = self.scored.shaped.tolist()
        gaps = [
            scores[prompt * num_samples + i] - scores[prompt * num_samples + j]
            for prompt, pairs in enumerate(self.pairs)
            for i, j in pairs
        ]
        row = {
            "frac_reward_zero_std": self.scored.share_without_spread,
            "pairs/num": float(len(gaps)),
            "pairs/num_tied_prompts": float(sum(not pairs for pairs in self.pairs)),
            "pairs/score_gap": sum(gaps) / len(gaps) if gaps else 0.0,
        }
        of_policy = [report[POLICY].metrics for report in reports if POLICY in report]
        measured = [metrics for metrics in of_policy if "rewards/margins" in metrics]
        names = [name for name in measured[0] if "/" in name or name == "loss"] if measured else []
        return row | {name: sum(one[name] for one in measured) / len(measured) for name in names}

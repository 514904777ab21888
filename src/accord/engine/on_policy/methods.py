"""What a method of on-policy training is: what it makes of a scored rollout, and what it remembers between two.

The loop (`accord.engine.on_policy.loop`) samples, scores and takes optimizer steps. All that PPO, RLOO, GRPO and online
DPO differ in is behind two protocols: a `Method` lives as long as the run and makes a `Lesson` of each rollout; a
lesson gives the losses of that rollout's optimizer steps and says, afterwards, how they went.

    Rollout -> Scored -> Lesson -> (learner, terms) of each micro-batch -> reports of optimizer steps -> metrics
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from accord.algorithms.group import without_spread
from accord.engine.learner import Learner, StepReport, Term
from accord.engine.rollout import Rollout
from accord.store.checkpoints import Checkpoint
from accord.text.batching import MicroBatch

POLICY = "policy"  # the name of the policy's learner

Reports = Sequence[Mapping[str, StepReport]]  # of each optimizer step of an iteration: learner -> what it did


@dataclass(frozen=True, slots=True)
class Scored:
    """A rollout and what is said of it before a method makes something of it.

    S = P * K sequences, prompt by prompt; R = tokens of the longest response; [S, R] is zero where `mask` is False.
    scores: [S], as the reward gives them. shaped: [S], after what the settings do to unfinished responses,
    normalisation and clipping. logprobs: [S, R], of the policy that sampled, computed with the micro-batches of the
    first epoch; reference_logprobs, sampler_logprobs (what the sampler drew with): [S, R]. entropies: [S, R], the
    policy's. mask: [S, R] bool, response tokens. kept: [S] bool, responses that may give a gradient; own: [S] bool,
    those among them whose score is not the one that replaces all unfinished ones'. k1, k3: [S, R], estimates of the KL
    to the reference, which are logged and trained on. kl: the mean over sequences of k1 summed over tokens, in nats.
    spread: how far the members of an ensemble, or the parts of a combined reward, are apart. stale: the policy has
    learned since it sampled, so that all that is said here of the policy is of the one before that update.

    Example: P = 1, K = 2, responses of 2 and 1 tokens: mask [[True, True], [True, False]], scores [0.3, -1.2].
    """

    rollout: Rollout
    scores: Tensor
    shaped: Tensor
    logprobs: Tensor
    reference_logprobs: Tensor
    sampler_logprobs: Tensor
    entropies: Tensor
    mask: Tensor
    kept: Tensor
    own: Tensor
    k1: Tensor
    k3: Tensor
    kl: float
    spread: float | None
    stale: bool = False

    @property
    def learned(self) -> Tensor:
        """[S, R] bool: the tokens of responses that may give a gradient."""
        return self.mask & self.kept[:, None]

    @property
    def trained_score(self) -> float:
        """The mean of `shaped` over the responses that may give a gradient; 0 where there is none."""
        return float(self.shaped[self.kept].mean()) if bool(self.kept.any()) else 0.0

    @property
    def share_without_spread(self) -> float:
        """Of the prompts: the scores that are trained on are all equal, so that no response is better than another."""
        groups = (len(self.rollout.trees), -1)
        return float(without_spread(self.shaped.view(groups), self.kept.view(groups)).float().mean())

    def rows_of(self, minibatch: Sequence[MicroBatch]) -> list[int]:
        """Which of the S sequences the trees of some micro-batches hold, in their order."""
        num = len(self.rollout.trees[0].branches)
        return [i * num + k for micro in minibatch for i in micro.indices for k in range(num)]


@dataclass(frozen=True, slots=True)
class Trainee:
    """A learner and its learning rate at the highest."""

    learner: Learner
    learning_rate: float


class Lesson(Protocol):
    """One rollout, made ready to learn from."""

    def losses(self, minibatch: Sequence[MicroBatch]) -> Iterable[tuple[str, Sequence[Term]]]:
        """One optimizer step: for each of its micro-batches a learner's name and the terms for it.

        A term's num_units are those of the whole `minibatch`. A learner that is not named does not step. Give one pair
        after the other (a generator): the gradient of one is computed before the next is asked for.
        """
        ...

    def enough(self, report: Mapping[str, StepReport]) -> bool:
        """Whether the iteration's remaining optimizer steps are left out, asked after each."""
        ...

    def metrics(self, reports: Reports) -> dict[str, float]:
        """What this method adds to the row of metrics."""
        ...


class Method(Protocol):
    """What differs between the methods, for a whole run."""

    @property
    def trainees(self) -> Mapping[str, Trainee]:
        """What learns beside the policy. The loop steps them and keeps them in the checkpoint, by these names."""
        ...

    @property
    def num_warmup(self) -> int:
        """In so many iterations, the first ones, the policy does not learn."""
        ...

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> Lesson:
        """A lesson of a rollout. micros: all of the first epoch's. warming: it is one of the `num_warmup`, and no term
        may be for the policy."""
        ...

    def after(self, scored: Scored) -> dict[str, Any]:
        """After the optimizer steps of an iteration: moves what moves between two (coefficients, the reference).

        Returns nothing, or, when the run is to end here, why, for the step's summary: {"stopped_at_kl": 12.3}.
        """
        ...

    def state(self) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
        """Groups of tensors and JSON for a checkpoint: all that `after` moves."""
        ...

    def load(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; the JSON is given, the groups are the checkpoint's."""
        ...

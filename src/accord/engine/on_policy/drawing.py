"""The rollouts of a run, each drawn in its own iteration or, with `staleness: 1`, before the update of the one before.

    staleness 0     draw 0, update 0, draw 1, update 1, draw 2, update 2
    staleness 1     draw 0, draw 1, update 0, draw 2, update 1, update 2

So rollout i > 0 is of the policy before update i - 1, and update i - 1 needs nothing of it: the two could go on at the
same time (Noukhovitch et al. 2024, arXiv:2410.18252). Each draw has a seed of its own, and what the policy that sampled
says of a rollout is computed before it learns. A result hence does not depend on what went on at the same time.

A rollout that was drawn ahead is in the checkpoint, as the weights that drew it are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from torch import Tensor

from accord.engine.group import fair_micro_batches
from accord.engine.on_policy.config import RolloutConfig
from accord.engine.on_policy.following import Follower
from accord.engine.on_policy.scoring import Own, Roles, read_own
from accord.engine.rollout import Rollout, packed, roll_out, unpacked
from accord.seeds import derive_seed
from accord.store.checkpoints import Checkpoint
from accord.text.batching import MicroBatch
from accord.types import Prompt

# A checkpoint's groups, and the key of its state.
_AHEAD: Final = "ahead"
_WEIGHTS: Final = "ahead_weights"

Dealt = Sequence[Sequence[Sequence[MicroBatch]]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A rollout, ready to be scored.

    minibatches: [epoch][minibatch][micro-batch]. probed: of a sampler with weights of its own, how far it was from the
    policy. own: of one that was drawn ahead, what the policy said of it then. weights: of such a one the weights in
    fp32 that drew it, like the learner's `own`, where they were asked for.
    """

    rollout: Rollout
    minibatches: Dealt
    probed: dict[str, float] = field(default_factory=dict)
    own: Own | None = None
    weights: Mapping[str, Tensor] | None = None

    @property
    def micros(self) -> list[MicroBatch]:
        """All of the first epoch's."""
        return [micro for minibatch in self.minibatches[0] for micro in minibatch]


class Rollouts:
    """prompts: of each iteration. sampler: who writes in the policy's place. num_warmup: so many iterations leave the
    policy as it is, so the rollouts up to the one after them are drawn in their own iteration: by the same weights."""

    def __init__(
        self,
        roles: Roles,
        prompts: Sequence[Sequence[Prompt]],
        config: RolloutConfig,
        seed: int,
        sampler: Follower | None = None,
        num_warmup: int = 0,
    ) -> None:
        self._roles, self._prompts, self._config = roles, prompts, config
        self._seed, self._sampler, self._num_warmup = seed, sampler, num_warmup
        self._ahead: Drawn | None = None

    def take(self, iteration: int) -> Drawn:
        """The rollout of an iteration: what was drawn ahead for it, or else drawn now. Raises NotFinite when the policy
        is none any more."""
        drawn, self._ahead = self._ahead, None
        return drawn or self._draw(iteration)

    def draw_ahead(self, iteration: int, *, keep_weights: bool) -> None:
        """Draws the rollout of an iteration, if there is to be one and rollouts are drawn ahead. keep_weights: those
        that draw it may be asked for when it is looked at. Raises NotFinite as `take` does."""
        if not self._config.staleness or not self._num_warmup < iteration < len(self._prompts):
            return
        drawn, of_learner = self._draw(iteration), self._roles.policy_learner.own
        every = getattr(self._config, "reference_every", None)
        moves = every is not None and iteration % every == 0  # the reference, before this rollout is scored
        reference = self._roles.reference if moves else None
        own = read_own(drawn.rollout, drawn.micros, self._roles.policy, self._config.temperature, reference)
        weights = {name: weight.clone() for name, weight in of_learner.items()} if keep_weights else None
        self._ahead = replace(drawn, own=own, weights=weights)

    def weights_of(self, drawn: Drawn) -> Mapping[str, Tensor]:
        """The weights that drew a rollout, in fp32, as the learner's `masters` has them: before its iteration's update,
        and of one that was drawn ahead only where they were to be kept."""
        learner = self._roles.policy_learner
        if drawn.own is None:
            return learner.masters
        assert drawn.weights is not None, "nobody said that they would be asked for"
        return learner.whole(drawn.weights)

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Groups for a checkpoint: what was drawn ahead."""
        drawn = self._ahead
        if drawn is None or drawn.own is None:
            return {}
        own = {"own_logprobs": drawn.own.logprobs, "own_entropies": drawn.own.entropies}
        if drawn.own.reference is not None:
            own["own_reference"] = drawn.own.reference
        groups: dict[str, Mapping[str, Tensor]] = {_AHEAD: packed(drawn.rollout) | own}
        if drawn.weights is not None:
            groups[_WEIGHTS] = self._roles.policy_learner.whole(drawn.weights)
        return groups

    def state(self) -> dict[str, Any]:
        """JSON for a checkpoint."""
        if self._ahead is None:
            return {}
        return {_AHEAD: {"probed": self._ahead.probed, "weights": self._ahead.weights is not None}}

    def load(self, checkpoint: Checkpoint) -> None:
        """The inverse of `tensors` and `state`."""
        state = checkpoint.state.get(_AHEAD)
        if state is None:
            return
        tensors, iteration = checkpoint.tensors(_AHEAD), checkpoint.iteration
        rollout = unpacked(tensors, self._prompts[iteration], self._roles.policy.template)
        own = Own(tensors["own_logprobs"], tensors["own_entropies"], tensors.get("own_reference"))
        weights = self._roles.policy_learner.rows(checkpoint.tensors(_WEIGHTS)) if state["weights"] else None
        self._ahead = Drawn(rollout, self._deal(rollout, iteration), state["probed"], own, weights)

    def _draw(self, iteration: int) -> Drawn:
        config, sampler = self._config, self._sampler
        probed = sampler.follow() if sampler else {}
        rollout = roll_out(
            sampler.engine if sampler else self._roles.policy,
            self._prompts[iteration],
            num_samples=config.num_samples,
            max_response_tokens=config.max_response_tokens,
            temperature=config.temperature,
            ending=config,
            key=(self._seed, iteration),
        )
        return Drawn(rollout, self._deal(rollout, iteration), probed)

    def _deal(self, rollout: Rollout, iteration: int) -> Dealt:
        seed = derive_seed(self._seed, "minibatches", iteration)
        return deal(rollout, self._config, seed)


def deal(rollout: Rollout, config: RolloutConfig, seed: int) -> list[list[list[MicroBatch]]]:
    """[epoch][minibatch][micro-batch]: prompts dealt anew in every epoch."""
    num_prompts = len(rollout.trees)
    epochs = []
    for epoch in range(config.num_epochs):
        order = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(num_prompts)
        epoch_batches = []
        for part in np.array_split(order, min(config.num_minibatches, num_prompts)):
            micros = fair_micro_batches([rollout.trees[i] for i in part], config.max_tokens)
            epoch_batches.append([micro.of(part.tolist()) for micro in micros])
        epochs.append(epoch_batches)
    return epochs

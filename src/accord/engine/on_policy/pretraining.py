"""PPO-ptx: examples whose likelihood is trained on beside the reward, so that what they teach is not forgotten.

Source: Ouyang et al. 2022 (InstructGPT), section 3.5 and appendix C.4: the gradients of the two losses are added in
every optimizer step, that of the examples times a coefficient. Both losses are means over tokens here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from accord.algorithms.likelihood import negative_log_likelihood
from accord.algorithms.loss import Loss
from accord.engine.group import shared_micro_batches
from accord.engine.learner import Term
from accord.engine.on_policy.config import RolloutConfig
from accord.models.policy import Policy
from accord.seeds import derive_seed
from accord.text.tree import Tree


@dataclass(frozen=True, slots=True)
class Pretraining:
    """trees: the examples. They are gone through in a new order every epoch; which ones an iteration takes is a
    function of its number, so there is no state."""

    trees: Sequence[Tree]
    policy: Policy
    config: RolloutConfig
    seed: int

    def of(self, iteration: int) -> list[Iterator[Term]]:
        """The losses of each optimizer step of an iteration. With fewer examples than steps, some have none."""
        return [self._terms(trees) for trees in self.trees_of(iteration)]

    def trees_of(self, iteration: int) -> list[list[Tree]]:
        """The examples of each optimizer step of an iteration."""
        num, size = examples_an_iteration(self.config), len(self.trees)
        first = iteration * num
        epochs = [self._order(epoch) for epoch in range(first // size, (first + num - 1) // size + 1)]
        some = np.concatenate(epochs)[first % size :][:num]
        num_updates = self.config.num_epochs * min(self.config.num_minibatches, self.config.prompts_per_iteration)
        return [[self.trees[i] for i in part] for part in np.array_split(some, num_updates)]

    def _terms(self, trees: Sequence[Tree]) -> Iterator[Term]:
        """The loss of an optimizer step's examples, micro-batch by micro-batch."""
        num_tokens = sum(num_scored(tree) for tree in trees)
        for micro in shared_micro_batches(trees, self.config.max_tokens):
            loss = negative_log_likelihood(self.policy.token_logprobs(micro.batch))
            yield Term(
                Loss(loss.total, loss.num_units, {"ptx_loss": loss.metrics["loss"]}), num_tokens, self.config.ptx_coef
            )

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.Generator(np.random.Philox(key=derive_seed(self.seed, epoch))).permutation(len(self.trees))


def examples_an_iteration(config: RolloutConfig) -> int:
    """How many examples stand beside an iteration's responses."""
    return max(1, round(config.ptx_examples * config.num_sequences))


def num_scored(tree: Tree) -> int:
    """How many tokens of a tree are learned."""
    return sum(len(b.ids) if b.scored is None else sum(b.scored) for b in tree.branches)

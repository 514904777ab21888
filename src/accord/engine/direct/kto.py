"""KTO of a policy: single responses that are good or bad, and the reference point that they are held against.

The reference point z0 is the KL of the policy from the reference, estimated as the paper does from prompts with answers
to other prompts. Which answer a prompt gets is drawn once for the data set, so that its reference log-probability is
computed once, too; z0 is the mean over the examples of a whole optimizer step, computed before their losses. So the
micro-batch size changes neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accord.algorithms.kto import kto_loss, reference_point
from accord.algorithms.loss import Loss
from accord.engine.direct.preference import Limits
from accord.engine.direct.reference import branch_logprobs
from accord.engine.group import shared_micro_batches
from accord.engine.scorer import per_branch
from accord.models.policy import Policy
from accord.text.template import Template
from accord.text.tree import Branch, Tree
from accord.types import LabelledResponse

SHOWN = ("loss", "kl", "rewards/margins")  # on the progress line
SETS = tuple(f"reference{of}{which}" for of in ("", ", validation") for which in ("", ", mismatched"))  # there, too


@dataclass(frozen=True, slots=True)
class LabelledTrees:
    """trees: of one branch each. good: what was said of it."""

    trees: list[Tree]
    good: list[bool]

    @property
    def num_good(self) -> int:
        return sum(self.good)


def labelled_trees(
    template: Template, records: Sequence[LabelledResponse], limits: Limits
) -> tuple[LabelledTrees, dict[str, int]]:
    """What can be learned from, and counts of what is left out, and why. A response without text that ended its turn is
    one token, and stays; one that did not end it either has none."""
    found = LabelledTrees([], [])
    counts = {"num_with_control_tokens": 0, "num_without_tokens": 0, "num_too_long": 0}
    for record in records:
        if template.control_token(record.prompt, [record.response]):
            counts["num_with_control_tokens"] += 1
            continue
        ids = template.response_ids(record.response)
        if not ids:
            counts["num_without_tokens"] += 1
            continue
        tree = Tree(template.prompt_ids(record.prompt), (Branch(ids),))
        if limits.forbid(tree):
            counts["num_too_long"] += 1
            continue
        found.trees.append(tree)
        found.good.append(record.good)
    return found, counts


def mismatched(trees: Sequence[Tree], seed: int, max_tokens: int | None) -> list[Tree]:
    """Each prompt with an answer to another one: that of the next example, in an order drawn from `seed`, whose prompt
    is different. Cut where it would be longer than max_tokens. Empty when all prompts are equal."""
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(trees))
    prompts = [trees[i].prompt_ids for i in order]
    num = len(order)
    following: list[int | None] = [None] * num  # the next place with another prompt
    for at in 2 * list(range(num - 1, -1, -1)):  # the second time what follows the last place is known
        after = (at + 1) % num
        following[at] = after if prompts[after] != prompts[at] else following[after]
    partner = {int(order[at]): int(order[other]) for at, other in enumerate(following) if other is not None}
    made = []
    for i, j in sorted(partner.items()):
        prompt = trees[i].prompt_ids
        room = None if max_tokens is None else max_tokens - len(prompt)
        made.append(Tree(prompt, (Branch(trees[j].branches[0].ids[:room]),)))
    return made


@dataclass(frozen=True, slots=True)
class Feedback:
    """Labelled trees with what the reference says. reference, mismatched_reference: of each tree [1]."""

    labelled: LabelledTrees
    mismatched: Sequence[Tree]
    reference: Sequence[Tensor]
    mismatched_reference: Sequence[Tensor]

    def losses(
        self, policy: Policy, indices: Sequence[int], max_tokens: int, parameters: Mapping[str, float]
    ) -> Iterator[Loss]:
        """The losses of the micro-batches of an optimizer step. parameters: beta and the two weights."""
        z0 = self._reference_point(policy, indices, max_tokens)
        share_good = sum(self.labelled.good[i] for i in indices) / len(indices)
        trees = [self.labelled.trees[i] for i in indices]
        for micro in shared_micro_batches(trees, max_tokens):
            some = [indices[i] for i in micro.indices]
            yield kto_loss(
                branch_logprobs(policy, micro.batch),
                torch.cat([self.reference[i] for i in some]),
                torch.tensor([self.labelled.good[i] for i in some]),
                z0,
                share_good=share_good,
                **parameters,
            )

    def _reference_point(self, policy: Policy, indices: Sequence[int], max_tokens: int) -> Tensor:
        trees = [self.mismatched[i] for i in indices]
        logprobs = per_branch(
            trees,
            lambda batch: branch_logprobs(policy, batch),
            max_tokens=max_tokens,
        )
        return reference_point(torch.cat(logprobs) - torch.cat([self.mismatched_reference[i] for i in indices]))

"""Direct preference optimisation of a policy: the ordered pairs of a prompt's responses, all in one tree.

However many pairs a response is in, its log-probability is computed once, and all pairs of a prompt are one example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accord.algorithms.aggregation import response_sums
from accord.algorithms.loss import Loss
from accord.algorithms.preference import Responses, preference_loss
from accord.engine.direct.config import PreferenceLossConfig
from accord.engine.group import is_idle, shared_micro_batches, summed
from accord.models.policy import Policy
from accord.text.batching import MicroBatch
from accord.text.template import Template
from accord.text.tree import Branch, Tree
from accord.types import Ranking

SHOWN = ("loss", "rewards/accuracies", "rewards/margins")  # on the progress line
_UNITS = "units"  # among sums of metrics
_LEFT_OUT = (
    "num_without_pairs",
    "num_with_control_tokens",
    "num_pairs_without_tokens",
    "num_identical_pairs",
    "num_too_long",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest response, and the longest prompt with a response, in tokens (None: any); a comparison with a longer
    one is left out, never cut: of a response without its end a policy learns not to end."""

    max_response_tokens: int | None = None
    max_tokens: int | None = None

    def forbid(self, tree: Tree) -> bool:
        """Whether the tree is longer."""
        longest = tree.depth - len(tree.prompt_ids)
        limits = ((longest, self.max_response_tokens), (tree.depth, self.max_tokens))
        return any(limit is not None and length > limit for length, limit in limits)


@dataclass(frozen=True, slots=True)
class RankedTree:
    """A prompt with those of its responses that are in a pair, and the pairs: (chosen, rejected) branches.

    Example: responses A > C, B tied with both: two branches, A and C, and the pairs ((0, 1),).
    """

    tree: Tree
    pairs: tuple[tuple[int, int], ...]

    @staticmethod
    def of(prompt_ids: tuple[int, ...], branches: Sequence[Branch], pairs: Sequence[tuple[int, int]]) -> RankedTree:
        """pairs: of the branches as they are. Those that are in no pair are left out; they may be empty."""
        used = responses_in(pairs)
        place = {index: branch for branch, index in enumerate(used)}
        tree = Tree(prompt_ids, tuple(branches[index] for index in used))
        return RankedTree(tree, tuple((place[i], place[j]) for i, j in pairs))


def responses_in(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """The responses that are in some pair, ascending."""
    return sorted({index for pair in pairs for index in pair})


def ranked_trees(
    template: Template, rankings: Sequence[Ranking], limits: Limits
) -> tuple[list[RankedTree], dict[str, int]]:
    """What can be learned from, and counts of what is left out, and why.

    Pairs are compared by their final ids: two texts that are the same tokens are no pair. A response without text that
    ended its turn is one token, and stays; one that did not end it either has none, and its pairs go.
    """
    kept: list[RankedTree] = []
    counts = dict.fromkeys(_LEFT_OUT, 0)
    for ranking in rankings:
        if not ranking.pairs:
            counts["num_without_pairs"] += 1
            continue
        if template.control_token(ranking.prompt, ranking.responses):
            counts["num_with_control_tokens"] += 1
            continue
        ids = [template.response_ids(response) for response in ranking.responses]
        pairs = [(pair.chosen, pair.rejected) for pair in ranking.pairs]
        full = [(i, j) for i, j in pairs if ids[i] and ids[j]]
        different = [(i, j) for i, j in full if ids[i] != ids[j]]
        counts["num_pairs_without_tokens"] += len(pairs) - len(full)
        counts["num_identical_pairs"] += len(full) - len(different)
        if not different:
            continue
        ranked = RankedTree.of(template.prompt_ids(ranking.prompt), [Branch(each) for each in ids], different)
        if limits.forbid(ranked.tree):
            counts["num_too_long"] += 1
            continue
        kept.append(ranked)
    return kept, counts


@dataclass(frozen=True, slots=True)
class Preferences:
    """Ranked trees with what the reference says of their responses: for each tree [K] (None: the loss has none)."""

    ranked: Sequence[RankedTree]
    reference: Sequence[Tensor] | None

    def losses(
        self,
        policy: Policy,
        indices: Sequence[int],
        config: PreferenceLossConfig,
        max_tokens: int,
        temperature: float = 1.0,
    ) -> Iterator[Loss]:
        """The losses of the micro-batches of some prompts. temperature: of the policy's log-probabilities."""
        trees = [self.ranked[i].tree for i in indices]
        for micro in shared_micro_batches(trees, max_tokens):
            yield self._loss(policy, micro, [indices[i] for i in micro.indices], config, temperature)

    def _loss(
        self,
        policy: Policy,
        micro: MicroBatch,
        examples: Sequence[int],
        config: PreferenceLossConfig,
        temperature: float,
    ) -> Loss:
        chosen, rejected, prompts = [], [], []
        first = 0
        for place, i in enumerate(examples):
            for better, worse in self.ranked[i].pairs:
                chosen.append(first + better)
                rejected.append(first + worse)
                prompts.append(place)
            first += len(self.ranked[i].tree.branches)
        logprobs = policy.token_logprobs(micro.batch, temperature).logprobs
        branch_of_token, num_branches = micro.batch.branch_of_token, micro.batch.num_branches
        sums = response_sums(logprobs, None, branch_of_token, num_branches)
        tokens = torch.bincount(branch_of_token, minlength=num_branches)
        reference = None if self.reference is None else torch.cat([self.reference[i] for i in examples])
        return preference_loss(
            config.loss,
            Responses(sums, tokens, reference),
            torch.tensor(chosen),
            torch.tensor(rejected),
            torch.tensor(prompts),
            len(examples),
            parameters=config.parameters(),
            nll_coef=config.nll_coef,
        )


def mean_metrics(losses: Callable[[], Iterable[Loss]]) -> Callable[[], dict[str, float]]:
    """Measures the mean of each metric over the units of all losses, without gradients."""

    @torch.no_grad()
    def measure() -> dict[str, float]:
        sums: dict[str, float] = {}
        num_units = 0.0
        for loss in losses():
            if is_idle():
                continue
            num_units += loss.num_units
            for name, value in loss.metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        sums = summed({**sums, _UNITS: num_units})
        num_units = sums.pop(_UNITS)
        return {name: value / num_units for name, value in sums.items()}

    return measure


def nothing_left(counts: Mapping[str, int], num: int) -> tuple[str, str]:
    """What is wrong, and what to do, when of `num` comparisons none can be learned from. counts: of `ranked_trees`."""
    reasons = [f"{count} {name.removeprefix('num_').replace('_', ' ')}" for name, count in counts.items() if count]
    what = f"of {num} comparisons none can be learned from: {', '.join(reasons) or 'there are none'}"
    return (
        what,
        "Without pairs is what differs by less than tie_below, or not at all. Else raise limits, or clean the data.",
    )

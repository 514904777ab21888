"""CHES scores of a data set's pairs (`accord.algorithms.ches`): one pass of the policy before it is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from accord.algorithms.ches import ches, length_normalised_ches, lowest, summed_states
from accord.engine.direct.preference import RankedTree
from accord.engine.sizes import Sizes
from accord.engine.workload import Phase, passes
from accord.models.compute import compute_dtype
from accord.models.policy import Policy
from accord.store import atomic
from accord.store.workspace import Workspace
from accord.text.batching import iterate_micro_batches
from accord.text.tree import Tree

FILE = "ches.jsonl"  # a line for each pair, in the order of the data
CHES_TOKENS = 2048  # places in a micro-batch
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

Scores = tuple[float, float]  # CHES, length-normalised CHES


@torch.no_grad()
def ches_scores(
    policy: Policy,
    ranked: Sequence[RankedTree],
    *,
    max_tokens: int = CHES_TOKENS,
    advance: Callable[[int], None] | None = None,
) -> list[list[Scores]]:
    """For each tree the scores of its pairs, in their order: CHES and length-normalised CHES.

    policy: as it is before the training. advance: is told of trees done. A score does not depend on what else is in
    its batch, beyond rounding.
    """
    found: list[list[Scores]] = [[] for _ in ranked]
    for micro in iterate_micro_batches([one.tree for one in ranked], max_tokens):
        batch = micro.batch
        hidden = policy.scoring_states(batch).cpu()
        sums, lengths = summed_states(hidden, batch.branch_of_token, batch.num_branches)
        first = 0
        for i in micro.indices:
            pairs = first + torch.tensor(ranked[i].pairs, dtype=torch.int64).view(-1, 2)
            chosen, rejected = pairs.unbind(dim=1)
            plain = ches(sums[chosen], sums[rejected])
            normalised = length_normalised_ches(sums[chosen], sums[rejected], lengths[chosen], lengths[rejected])
            found[i] = list(zip(plain.tolist(), normalised.tolist(), strict=True))
            first += len(ranked[i].tree.branches)
        if advance:
            advance(len(micro.indices))
    return found


def of_lowest_ches(
    start: Path, ranked: Sequence[RankedTree], share: float, *, work: Workspace, label: str
) -> tuple[list[RankedTree], dict[str, Any]]:
    """What is left when of all pairs the share with the lowest length-normalised CHES is kept, and what to say of it.

    start: the folder of the policy that will be trained. Writes every pair's scores to ches.jsonl; where that file is
    already, as on a resume, it is read instead. Raises Interrupted when a stop was requested.
    """
    file = work.out / FILE
    if not file.exists():
        policy = Policy.load(start, compute_dtype())
        with work.progress(f"{label}: CHES", len(ranked), "prompts") as progress:
            _write(file, ranked, ches_scores(policy, ranked, advance=work.advancer(progress)))
        del policy
    scores = [json.loads(line)["length_normalised"] for line in file.read_text(encoding="utf-8").splitlines()]
    wanted = set(lowest(scores, share))
    kept, at = [], 0
    for one in ranked:
        pairs = [pair for number, pair in enumerate(one.pairs, start=at) if number in wanted]
        if pairs:
            kept.append(RankedTree.of(one.tree.prompt_ids, one.tree.branches, pairs))
        at += len(one.pairs)
    assert at == len(scores), f"{file} is of other pairs"
    values = np.quantile(scores, QUANTILES)
    quantiles = {f"{level:g}": float(value) for level, value in zip(QUANTILES, values, strict=True)}
    return kept, {
        "num_comparisons": len(kept),
        "num_pairs": len(wanted),
        "num_pairs_of_high_ches": len(scores) - len(wanted),
        "length_normalised_ches": {"kept_up_to": max(scores[i] for i in wanted), "quantiles": quantiles},
    }


def ches_phase(sizes: Sizes, trees: Sequence[Tree], scale: float) -> Phase:
    """For an estimate: the scores of trees that stand for `scale` times as many. The head is not computed."""
    batches = (micro.batch for micro in iterate_micro_batches(trees, CHES_TOKENS))
    return Phase(passes("forward", batches, scale, head=False), frozen=(sizes.policy,))


def _write(file: Path, ranked: Sequence[RankedTree], scores: Sequence[Sequence[Scores]]) -> None:
    lines = [
        json.dumps({"example": i, "chosen": pair[0], "rejected": pair[1], "ches": plain, "length_normalised": normal})
        for i, (one, of_one) in enumerate(zip(ranked, scores, strict=True))
        for pair, (plain, normal) in zip(one.pairs, of_one, strict=True)
    ]
    atomic.write_text(file, "".join(f"{line}\n" for line in lines))

"""Training of one reward model on rankings: K responses of a prompt in one tree, all their pairs one example.

One model is one call of `train_ranking_model`, with a seed of its own; what it starts from, an adapter among others or
all of the weights, is the caller's to prepare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from accord.algorithms.loss import Loss
from accord.algorithms.ranking import Safety, Ties, ranking_loss
from accord.algorithms.ties import TIE_MODELS
from accord.data.derive import derive_ranking, margin_levels, of_single_best, without_unsafe_chosen
from accord.data.records import JudgedComparison
from accord.engine.group import shared_micro_batches
from accord.engine.guard import Guard
from accord.engine.learner import Learner
from accord.engine.ranking.config import RankingConfig
from accord.engine.scorer import per_branch
from accord.engine.training import train
from accord.engine.validation import Validation
from accord.models import compute
from accord.models.scalar import ScalarModel
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from accord.text.template import Template
from accord.text.tree import Tree
from accord.types import Ranking

LEVELS = (0.0, 1.0, 2.0, 3.0)  # as margins: they tell the levels of preference apart in an evaluation


@dataclass(frozen=True, slots=True)
class Examples:
    """Rankings, and of each the tree that the model reads, in one order."""

    rankings: Sequence[Ranking]
    trees: Sequence[Tree]


def rankings_of(
    config: RankingConfig, comparisons: Sequence[JudgedComparison], *, levels: bool = False
) -> tuple[list[Ranking], dict[str, int]]:
    """The rankings that have a pair to learn from, and what was left out.

    levels: for an evaluation; pairs get the level of their preference, 0 to 3, in place of a margin, and ties are kept.
    """
    margins = LEVELS if levels else config.margin
    table = margins if margins == "data" else margin_levels(margins, config.margin_thresholds)
    derived = [derive_ranking(one, said, tie_below=config.tie_below, margin_levels=table) for one, said in comparisons]
    counts = {}
    if config.loss == "best" and not levels:
        best = [of_single_best(one) for one in derived]
        derived = [after for before, after in zip(derived, best, strict=True) if after.pairs or not before.pairs]
        counts["num_without_single_best"] = len(best) - len(derived)
    kept = [without_unsafe_chosen(one) for one in derived] if config.drop_unsafe_chosen else derived
    num_unsafe = sum(len(one.pairs) for one in derived) - sum(len(one.pairs) for one in kept)
    if config.ties == "drop" and not levels:
        kept = [replace(one, ties=()) for one in kept]
    with_pairs = [one for one in kept if one.pairs or one.ties]
    counts |= {"num_without_pairs": len(kept) - len(with_pairs), "num_pairs_unsafe_chosen": num_unsafe}
    return with_pairs, counts


def usable(
    template: Template, rankings: Sequence[Ranking], context: int | None, *, only_lengths: bool = False
) -> tuple[Examples, dict[str, int]]:
    """The rankings that can be learned from, what the model reads of each, and how much is left out for what.

    context: the most tokens that the model takes. Responses of equal tokens have no order that a model could see.
    only_lengths: of the responses nothing else is known yet, so that equal tokens mean nothing.
    """
    kept, trees = [], []
    left_out = {"num_with_control_tokens": 0, "num_too_long": 0, "num_identical_pairs": 0}
    for ranking in rankings:
        if template.control_token(ranking.prompt, ranking.responses):
            left_out["num_with_control_tokens"] += 1
            continue
        tree = template.scored_tree(ranking.prompt, ranking.responses)
        if context is not None and tree.depth > context:
            left_out["num_too_long"] += 1
            continue
        ids = [(k * only_lengths, branch.ids) for k, branch in enumerate(tree.branches)]
        pairs = tuple(pair for pair in ranking.pairs if ids[pair.chosen] != ids[pair.rejected])
        ties = tuple((a, b) for a, b in ranking.ties if ids[a] != ids[b])
        left_out["num_identical_pairs"] += len(ranking.pairs) - len(pairs)
        if pairs or ties:
            kept.append(replace(ranking, pairs=pairs, ties=ties))
            trees.append(tree)
    return Examples(kept, trees), left_out


def train_ranking_model(
    model: ScalarModel,
    examples: Examples,
    config: RankingConfig,
    *,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
    held_out: Examples | None = None,
    guard: Guard | None = None,
) -> tuple[Learner, dict[str, Any]]:
    """Trains the model, from the checkpoint (what `work.resume()` gave) on.

    Returns the learner, whose masters are the result, and how many optimizer steps were done and how the validation
    went. held_out: examples of a validation, whose loss is that of Bradley and Terry without margins. guard: may
    end the training.
    """
    learner = Learner(model.module, compute.compute_dtype(), config.optimization(), model.trained)

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        rankings = [examples.rankings[i] for i in indices]
        num_ordered = sum(bool(ranking.pairs) for ranking in rankings)
        for micro in shared_micro_batches([examples.trees[i] for i in indices], config.max_tokens):
            loss = batch_loss(
                model.scores(micro.batch), [rankings[i] for i in micro.indices], config, micro.batch.tree_of_branch
            )
            metrics = loss.metrics
            if num_ordered < len(rankings):  # prompts with nothing but ties have no accuracy, and are units
                scale = len(rankings) / max(num_ordered, 1)
                metrics = {name: scale * value for name, value in metrics.items()} if num_ordered else {}
            yield replace(loss, metrics={**metrics, "loss": loss.total.detach()})

    validation = None
    if held_out is not None:
        patience, keep_best = config.early_stopping, config.keep == "best"
        validation = Validation(_measure(model, held_out), config.validate_every, patience, keep_best)
    counts = train(
        learner,
        len(examples.trees),
        losses_of,
        config,
        seed=seed,
        work=work,
        label=label,
        checkpoint=checkpoint,
        validation=validation,
        guard=guard,
    )
    return learner, counts


def batch_loss(scores_s: Tensor, rankings: Sequence[Ranking], config: RankingConfig, prompt_of_score_s: Tensor) -> Loss:
    """The loss of the rankings whose responses have these scores, one ranking after the other."""
    found = _Indices.of(rankings)
    ties = safety = None
    if config.ties != "drop":
        ties = Ties(TIE_MODELS[config.ties](config.tie_probability), *found.ties)
    if config.safety_coef:
        response, safe, prompt = found.safe
        safety = Safety(config.safety_coef, response, safe.to(scores_s.dtype), prompt)
    chosen, rejected, prompt_of_pair = found.wins
    return ranking_loss(
        scores_s,
        chosen,
        rejected,
        found.margins,
        prompt_of_pair,
        len(rankings),
        centre_coef=config.centre_coef,
        prompt_of_score_s=prompt_of_score_s,
        label_smoothing=config.label_smoothing,
        ties=ties,
        safety=safety,
        single_best=config.loss == "best",
    )


Three = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Indices:
    """Pairs and labels of several rankings, as indices into the scores of all their responses; each group in columns.

    wins: chosen, rejected, prompt. margins: of these. ties: first, second, prompt. safe: response, 1 or 0, prompt.
    """

    wins: Three
    margins: Tensor
    ties: Three
    safe: Three

    @classmethod
    def of(cls, rankings: Sequence[Ranking]) -> _Indices:
        wins, ties, safe = [], [], []
        first = 0
        for prompt, one in enumerate(rankings):
            wins += [(first + pair.chosen, first + pair.rejected, prompt) for pair in one.pairs]
            ties += [(first + a, first + b, prompt) for a, b in one.ties]
            safe += [(first + k, int(label), prompt) for k, label in enumerate(one.safe) if label is not None]
            first += len(one.responses)
        margins = torch.tensor([pair.margin for one in rankings for pair in one.pairs], dtype=torch.float32)
        return cls(_columns(wins), margins, _columns(ties), _columns(safe))


def _columns(rows: Sequence[tuple[int, int, int]]) -> Three:
    first, second, third = torch.tensor(rows, dtype=torch.int64).view(-1, 3).unbind(dim=1)
    return first, second, third


def scores_of(model: ScalarModel, trees: Sequence[Tree], advance: Callable[[int], None] | None = None) -> list[Tensor]:
    """The raw scores of each tree's responses, fp32."""
    return per_branch(trees, model.scores, advance=advance)


def _measure(model: ScalarModel, held_out: Examples) -> Callable[[], dict[str, float]]:
    found = _Indices.of(held_out.rankings)
    chosen, rejected, prompt = found.wins
    no_margin = torch.zeros_like(found.margins)

    def measure() -> dict[str, float]:
        scores = torch.cat(scores_of(model, held_out.trees))
        loss = ranking_loss(scores, chosen, rejected, no_margin, prompt, len(held_out.rankings))
        means = {"loss": loss.total, "accuracy": loss.metrics["accuracy"]}
        return {name: float(value) / loss.num_units for name, value in means.items()}

    return measure

"""A reward model from comparisons: K responses of a prompt in one tree, all their ordered pairs one example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from accord.data.derive import MarginSize, derive_ranking, margin_levels
from accord.data.records import JudgedComparison
from accord.engine.config import TrainingConfig
from accord.errors import UserError
from accord.models.lora import Lora, without_dropout
from accord.steps.base import LATEST, ComparisonsRef, Job, PolicyRef, StepConfig, StepKind
from accord.store.artifacts import MODEL
from accord.types import Ranking

if TYPE_CHECKING:
    from accord.engine.workload import Sizes, Work
    from accord.text.template import Template
    from accord.text.tree import Tree

_NORMALISED_ON = 64  # comparisons of the training data whose scores get mean 0 and variance 1


class Config(StepConfig, TrainingConfig):
    """data: comparisons; those with a control token in a text, or longer than the model takes, are left out, and
    counted. start: whose backbone the reward model gets.

    tie_below: differences of mean grades that give no pair. margin: Llama 2's table of what the
    loss asks for at its four levels of preference. margin_thresholds: the differences of mean grades at which those
    levels begin. centre_coef: pulls scores towards 0.
    """

    data: ComparisonsRef
    start: PolicyRef = LATEST
    tie_below: float = Field(0.5, ge=0)
    margin: MarginSize = "small"
    margin_thresholds: tuple[float, float, float, float] = (0.5, 1.25, 2.5, 3.75)
    centre_coef: float = Field(0.01, ge=0)

    @field_validator("margin_thresholds")
    @classmethod
    def _ascending(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if list(thresholds) != sorted(thresholds):
            raise ValueError("the thresholds ascend, from negligibly to significantly better")
        return thresholds

    @field_validator("lora")
    @classmethod
    def _no_dropout(cls, lora: Lora | None) -> Lora | None:
        without_dropout(lora)
        return lora


def run(job: Job) -> None:
    """Writes the reward model's folder, model/, and summary.json: what was used, and the normalisation."""
    import torch

    from accord.algorithms.loss import Loss
    from accord.algorithms.ranking import ranking_loss
    from accord.engine.learner import Learner
    from accord.engine.rollout import context_of
    from accord.engine.scorer import per_branch
    from accord.engine.training import train
    from accord.models.folders import compute_dtype
    from accord.models.scalar import Normalisation, ScalarModel
    from accord.seeds import derive_seed
    from accord.text.batching import micro_batches, shuffled_batches

    config: Config = job.config
    source = job.input("data")
    rankings = _rankings(config, source.read("comparisons"))
    num_without_pairs = sum(not ranking.pairs for ranking in rankings)
    rankings = [ranking for ranking in rankings if ranking.pairs]
    if not rankings:
        raise UserError(
            "no comparison has an ordered pair",
            where=str(source.records),
            remedy=f"Every difference of mean grades is below tie_below = {config.tie_below}: lower it.",
        )
    checkpoint = job.work.resume()
    model = ScalarModel.from_policy(job.input("start").model, derive_seed(job.seed, "head"))
    if config.lora is not None:
        model.adapt(config.lora, job.input("start").model, derive_seed(job.seed, "adapter"))
    template = model.template
    context = context_of(model.module.config)
    rankings, trees, left_out = _trees(template, rankings, context)
    if not rankings:
        raise UserError(
            f"of {sum(left_out.values())} comparisons with an ordered pair none is left: "
            f"{left_out['num_with_control_tokens']} hold a control token, {left_out['num_too_long']} a response that "
            f"with its prompt has more tokens than the model takes ({context})",
            where=str(source.records),
            remedy="Take the tokens out of the texts, shorten the responses, or start from a model that takes more.",
        )
    learner = Learner(model.module, compute_dtype(), config.optimization())

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        for micro in micro_batches([trees[i] for i in indices], template.pad_id, config.max_tokens):
            chosen, rejected, margins, prompts = [], [], [], []
            first = 0
            for place, i in enumerate(micro.indices):
                ranking = rankings[indices[i]]
                for pair in ranking.pairs:
                    chosen.append(first + pair.chosen)
                    rejected.append(first + pair.rejected)
                    margins.append(pair.margin)
                    prompts.append(place)
                first += len(ranking.responses)
            loss = ranking_loss(
                model.scores(micro.batch),
                torch.tensor(chosen),
                torch.tensor(rejected),
                torch.tensor(margins),
                torch.tensor(prompts),
                len(micro.indices),
                centre_coef=config.centre_coef,
                prompt_of_score_s=micro.batch.tree_of_branch,
            )
            loss.metrics["loss"] = loss.total.detach()
            yield loss

    train(learner, len(trees), losses_of, config, seed=job.seed, work=job.work, label=job.name, checkpoint=checkpoint)
    seen = [i for batch in shuffled_batches(len(trees), config.batch_size, config.num_epochs, job.seed) for i in batch]
    trained_on = [trees[i] for i in seen[:_NORMALISED_ON]]
    scores = torch.cat(per_branch(trained_on, model.scores, pad_id=template.pad_id))
    normalisation = Normalisation(float(scores.mean()), 1 / max(float(scores.std()), 1e-6))
    model.save(job.work.out / MODEL, learner.masters, normalisation)
    summary = {
        "num_comparisons": len(set(seen)),
        "num_without_pairs": num_without_pairs,
        **left_out,
        "score_offset": normalisation.offset,
        "score_gain": normalisation.gain,
    }
    job.write_json("summary.json", summary)


def _rankings(config: Config, comparisons: Sequence[JudgedComparison]) -> list[Ranking]:
    levels = margin_levels(config.margin, config.margin_thresholds)
    return [
        derive_ranking(comparison, judgements, tie_below=config.tie_below, margin_levels=levels)
        for comparison, judgements in comparisons
    ]


def _trees(
    template: Template, rankings: Sequence[Ranking], context: int | None
) -> tuple[list[Ranking], list[Tree], dict[str, int]]:
    """The rankings that can be learned from, what the model reads of each, and how many are left out for what.

    context: the most tokens that the model takes.
    """
    kept, trees = [], []
    left_out = {"num_with_control_tokens": 0, "num_too_long": 0}
    for ranking in rankings:
        if template.control_token(ranking.prompt, ranking.responses):
            left_out["num_with_control_tokens"] += 1
            continue
        tree = template.scored_tree(ranking.prompt, ranking.responses)
        if context is not None and tree.depth > context:
            left_out["num_too_long"] += 1
            continue
        kept.append(ranking)
        trees.append(tree)
    return kept, trees, left_out


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.workload import Phase, Work, passes, scoring, training
    from accord.text.batching import micro_batches
    from accord.text.tree import TreeBatch

    template = sizes.template

    def trees_of(comparisons: Sequence[JudgedComparison]) -> list[Tree]:
        rankings = [one for one in _rankings(config, comparisons) if one.pairs]
        return _trees(template, rankings, sizes.dimensions.context)[1]

    def batches_of(some: Sequence[Tree]) -> Iterator[TreeBatch]:
        return (micro.batch for micro in micro_batches(some, template.pad_id, config.max_tokens))

    records = sizes.records("data", "comparisons")
    trees = trees_of(records.sample)
    if not trees:
        return Work()
    found, updates = training(
        lambda indices: batches_of([trees[i] for i in indices]),
        len(trees),
        len(trees) * records.scale,
        config.batch_size,
        config,
        head=False,
        seed=sizes.seed,
    )
    found += passes("train", batches_of(trees_of(records.longest)), 0, head=False)
    found += scoring(template, trees[: min(_NORMALISED_ON, round(len(trees) * records.scale * config.num_epochs))])
    trained = sizes.scalar if config.lora is None else sizes.adapter(config.lora)
    phase = Phase(found, [trained], () if config.lora is None else [sizes.scalar], updates=updates)
    return Work([phase], loaded=[sizes.policy], saved=[sizes.scalar], checkpointed=trained)


STEP = StepKind(produces="reward", version=2, config=Config, run=run, work=work)

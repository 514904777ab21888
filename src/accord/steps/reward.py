"""A reward model from comparisons: K responses of a prompt in one tree, all their ordered pairs one example."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from accord.data.derive import view
from accord.data.records import JudgedComparison
from accord.engine.ranking.config import RankingConfig, contradictions
from accord.seeds import derive_seed
from accord.steps.alarmed import Alarmed, check_alarms, guard
from accord.steps.base import (
    LATEST,
    Caution,
    ComparisonsRef,
    Contradiction,
    DemonstrationsRef,
    Job,
    PlannedStep,
    PolicyRef,
    StepConfig,
    StepKind,
)
from accord.steps.ending import check_ending
from accord.steps.judged import check_judged, learning, slow_adapters
from accord.steps.reward_data import Judged, examples
from accord.steps.reward_members import MembersConfig, check_members, run_members, told, work_of_members
from accord.steps.too_long import too_long
from accord.store.artifacts import MODEL
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.engine.ranking.training import Examples
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.models.scalar import ScalarModel
    from accord.text.tree import Tree, TreeBatch


class Config(StepConfig, RankingConfig, MembersConfig, Alarmed):
    """data: comparisons; those with a control token in a text, or longer than the model takes, are left out, and
    counted; a list of parts is put together. start: whose backbone the reward model gets. num_layers: its first so
    many layers alone, for a smaller model that knows less (null: all). validation: comparisons that
    are not trained on, for accuracy and calibration. demonstrations: the reference answers that scores are normalised
    on, where normalise_on says so.
    """

    data: ComparisonsRef | list[ComparisonsRef]
    start: PolicyRef = LATEST
    num_layers: int | None = Field(None, gt=0)
    validation: ComparisonsRef | list[ComparisonsRef] | None = None
    demonstrations: DemonstrationsRef | None = None


def run(job: Job) -> None:
    """Writes the reward model's folder, model/; summary.json: what was used, and the normalisation; and with a
    validation evaluation.json, what `accord.evaluate.rankings` says of it."""
    from accord.engine.guard import Quality
    from accord.engine.ranking.normalisation import normalisation_of, order_of_training
    from accord.engine.ranking.training import train_ranking_model
    from accord.models.scalar import ScalarModel
    from accord.monitor.alarms import alarms, as_json

    config: Config = job.config
    checkpoint = job.work.resume()
    normalised_on = _normalised_on(job)
    if config.members > 1:
        return run_members(job, checkpoint, normalised_on, _examples)
    model = ScalarModel.from_policy(job.input("start").model, derive_seed(job.seed, "head"), config.num_layers)
    if config.lora is not None:
        model.adapt(config.lora, job.input("start").model, derive_seed(job.seed, "adapter"))
    examples, left_out = _examples(job, "data", model)
    raised = too_long(job.name, left_out, len(examples.trees), "comparisons")
    held_out, held_left_out = _examples(job, "validation", model) if config.validation else (None, {})
    order = order_of_training(len(examples.trees), config, job.seed)
    normalised_on = normalised_on or [examples.trees[i] for i in order[: config.num_normalise]]
    if config.normalise_first:
        model.head.data.mul_(normalisation_of(model, normalised_on, config.normalise).gain)
    learner, counts = train_ranking_model(
        model,
        examples,
        config,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
        held_out=held_out,
        guard=guard(config, Quality("eval_accuracy") if held_out else None),
    )
    normalisation = normalisation_of(model, normalised_on, config.normalise)
    masters = learner.masters
    job.work.lead(lambda: model.save(job.work.out / MODEL, masters, normalisation), masters)
    seen = order_of_training(len(examples.trees), config, job.seed, counts["num_optimizer_steps"])
    summary: dict[str, Any] = {
        "num_comparisons": len(set(seen)),
        **left_out,
        **counts,
        "score_offset": normalisation.offset,
        "score_gain": normalisation.gain,
        "alarms": as_json([*raised, *alarms(job.work.metrics.read())]),
    }
    if held_out is not None:
        epoch = -(-len(examples.trees) // config.batch_size)  # optimizer steps
        several = counts["num_optimizer_steps"] > (config.validate_every or epoch)
        evaluation = _evaluation(job, model, held_out) | {"chose_the_weights": several and config.keep == "best"}
        job.write_json("evaluation.json", {**held_left_out, **evaluation})
        summary["validation"] = told(evaluation)
    job.write_json("summary.json", summary)


def _read(job: Job, field: str) -> list[JudgedComparison]:
    return [one for part in job.inputs[field] for one in part.read("comparisons")]


def _examples(job: Job, field: Judged, model: ScalarModel) -> tuple[Examples, dict[str, int]]:
    from accord.engine.rollout import context_of

    return examples(job.config, model.template, _read(job, field), context_of(model.module.config), field, job.name)


def _evaluation(job: Job, model: ScalarModel, held_out: Examples) -> dict[str, Any]:
    from accord.engine.ranking.training import scores_of
    from accord.evaluate.rankings import evaluate_rankings

    with job.work.progress(f"{job.name}: validation", len(held_out.trees), "comparisons") as progress:
        scores = [one.tolist() for one in scores_of(model, held_out.trees, job.work.advancer(progress))]
    return evaluate_rankings(held_out.rankings, scores, seed=derive_seed(job.seed, "intervals"))


def _normalised_on(job: Job) -> list[Tree] | None:
    """What the scores are normalised on; None: the data."""
    from accord.engine.ranking.normalisation import answered_trees, sampled_trees

    config: Config = job.config
    start = job.input("start").model
    if config.normalise_on == "demonstrations":
        demonstrations = job.input("demonstrations").read("demonstrations")
        return answered_trees(start, demonstrations, config.num_normalise, job.name)
    if config.normalise_on == "samples":
        prompts = _prompts(_read(job, "data"), config.num_normalise)
        return sampled_trees(start, prompts, config, seed=job.seed, work=job.work, label=job.name)
    return None


def _prompts(comparisons: Sequence[JudgedComparison], num: int) -> list[Prompt]:
    """The first `num` of the data's prompts."""
    return view(comparisons, "comparisons", "prompts")[:num]


def check(step: PlannedStep) -> Iterable[Caution]:
    """What does not go together."""
    config = step.config
    assert isinstance(config, Config)
    if config.num_layers is not None and config.lora is not None:
        what = "an adapter is of a whole model, and num_layers keeps a part of one"
        raise Contradiction("num_layers", what, "Take lora out: all weights of the few layers are trained.")
    for problem in contradictions(config):
        raise Contradiction(*problem)
    yield from check_members(config, config.lora, config.normalise)
    check_ending(step)
    check_judged(step)
    check_alarms(step)
    yield from learning(step)
    yield from slow_adapters(config, "1e-4")
    if config.normalise_on == "demonstrations" and config.demonstrations is None:
        what = "there are no demonstrations to normalise the scores on"
        raise Contradiction("normalise_on", what, "Name a part with reference answers as `demonstrations`.")
    if config.demonstrations is not None and config.normalise_on != "demonstrations":
        what = f"the scores are normalised on {config.normalise_on}, so demonstrations are not used"
        raise Contradiction("demonstrations", what, "Take them out, or set normalise_on: demonstrations.")
    if (
        config.margin in ("none", "data")
        and config.validation is None
        and "margin_thresholds" in config.model_fields_set
    ):
        what = f"with margin: {config.margin} no level of preference is told apart, and no validation does."
        yield Caution("margin_thresholds", what, "Take it out, or set margin: small or margin: large.")
    if config.safety_coef and config.centre_coef:
        what = "centre_coef pulls the scores of what is all safe or all unsafe towards 0, against the safety labels."
        yield Caution("centre_coef", what, "Leave it out: beside safety_coef it is 0.")
    if config.ties != "drop" and config.margin != "none":
        what = f"with margins the probabilities of a win, of a loss and of a tie in {config.ties} do not add up to 1"
        yield Caution("margin", f"{what}.", "Set margin: none to read scores as probabilities.")


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.ranking.training import rankings_of, usable
    from accord.engine.workload import Phase, Work, passes, rollout_trees, sampling, scoring, training
    from accord.models.first_layers import check_num_layers
    from accord.text.batching import micro_batches

    if config.num_layers is not None:
        check_num_layers(config.num_layers, sizes.dimensions.layers, f"{sizes.label}.num_layers")
    template, context = sizes.template, sizes.dimensions.context

    def trees_of(comparisons: Sequence[JudgedComparison], field: Judged = "data") -> Sequence[Tree]:
        rankings, _ = rankings_of(config, comparisons, levels=field == "validation")
        return usable(template, rankings, context, only_lengths=True)[0].trees

    def trees_in(field: Judged) -> Sequence[Tree]:
        """Of the sample. Raises UserError as run() would, where it is all of the data."""
        records = sizes.records(field, "comparisons")
        if records.complete:
            return examples(config, template, records.sample, context, field, sizes.label)[0].trees
        return trees_of(records.sample, field)

    def batches_of(some: Sequence[Tree]) -> Iterator[TreeBatch]:
        return (micro.batch for micro in micro_batches(some, config.max_tokens))

    records = sizes.records("data", "comparisons")
    trees = trees_in("data")
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
    phases: list[Phase] = []
    normalised_on = trees[: min(config.num_normalise, round(len(trees) * records.scale * config.num_epochs))]
    if config.normalise_on == "samples":
        prompts = _prompts(records.sample, config.num_normalise)
        own, normalised_on = rollout_trees(template, prompts, 1, sizes.responses("start", config.max_response_tokens))
        sampled, cache = sampling(own, sizes.dimensions)
        phases.append(Phase(sampled, frozen=[sizes.policy], cache=cache))
    elif config.normalise_on == "demonstrations":
        answers = sizes.records("demonstrations", "demonstrations").sample[: config.num_normalise]
        normalised_on = [template.scored_tree(one.prompt, [one.response]) for one in answers]
    if config.normalise != "none" and normalised_on:
        found += scoring(template, normalised_on, 1 + config.normalise_first)
    kept = 0
    whole = sizes.dimensions
    few = replace(whole, layers=config.num_layers or whole.layers)
    scalar = few.scalar_parameters
    trained = scalar if config.lora is None else sizes.adapter(config.lora)
    if config.validation is not None:
        held = sizes.records("validation", "comparisons")
        looks = -(-updates // (config.validate_every or max(1, round(updates / config.num_epochs))))
        if held_trees := trees_in("validation"):
            found += scoring(template, held_trees, held.scale * (looks + 1))
        kept = trained * (config.keep == "best")
    found = [replace(each, count=each.count * few.layers / whole.layers) for each in found]
    phases.append(Phase(found, [trained], () if config.lora is None else [scalar], kept, updates))
    loaded = [sizes.policy] * len(phases)
    one = Work(phases, loaded=loaded, saved=[scalar], checkpointed=trained)
    return one if config.members == 1 else work_of_members(one, config, trained)


STEP = StepKind(produces="reward", version=4, config=Config, run=run, work=work, check=check, together=True)

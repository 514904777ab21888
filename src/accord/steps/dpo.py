"""Direct preference optimisation of a policy on comparisons: DPO and its relatives, without a reward model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from accord.data.derive import derive_ranking
from accord.data.records import JudgedComparison
from accord.engine.direct.config import PreferenceLossConfig
from accord.errors import UserError
from accord.steps.base import Caution, ComparisonsRef, Contradiction, Job, PlannedStep, StepKind
from accord.steps.direct import DirectConfig, cautions, learn
from accord.steps.judged import slow_orpo
from accord.steps.too_long import too_long
from accord.types import Ranking

if TYPE_CHECKING:
    from accord.algorithms.loss import Loss
    from accord.engine.direct.preference import RankedTree
    from accord.engine.sizes import Records, Sizes
    from accord.engine.workload import Work
    from accord.text.template import Template
    from accord.text.tree import Tree


class Config(DirectConfig, PreferenceLossConfig):
    """data: comparisons; a list of parts is put together. All ordered pairs of a comparison are one example, of which
    the loss takes the mean. Left out, and counted: comparisons with a control token in a text, and pairs whose
    responses are the same tokens. validation: comparisons that are not trained on; their loss, accuracy and margins are
    measured now and then, and after the last optimizer step. tie_below: differences of mean grades below this, and
    equal ones, give no pair (0: equal ones alone).

    keep_ches: the share of the pairs that is trained on, those of lowest length-normalised CHES, in which the two
    responses are least alike to the model (null: all; 1: all, with the scores in ches.jsonl). Razin et al. 2024
    (arXiv:2410.08847) keep 0.05 where a training to refuse made a model refuse less.
    """

    data: ComparisonsRef | list[ComparisonsRef]
    validation: ComparisonsRef | list[ComparisonsRef] | None = None
    tie_below: float = Field(0.0, ge=0)
    keep_ches: float | None = Field(None, gt=0, le=1)


def check(step: PlannedStep) -> Iterable[Caution]:
    """Keys that do not go together."""
    config = step.config
    assert isinstance(config, Config)
    if found := config.contradiction():
        raise Contradiction(*found)
    if config.reference is not None and not config.has_reference:
        what = f"the loss {config.loss} has no reference"
        raise Contradiction("reference", what, "Remove this key, or use a loss that has one, such as dpo.")
    yield from cautions(step)
    yield from slow_orpo(config, config.loss)


def run(job: Job) -> None:
    """Writes the policy's folder, model/, and summary.json: what was used, what was left out and why, the validation,
    and the alarms that the metrics give cause for; with `keep_ches` also ches.jsonl."""
    from accord.engine.direct.ches import of_lowest_ches
    from accord.engine.direct.preference import SHOWN, Preferences
    from accord.engine.direct.trainee import trainee
    from accord.engine.rollout import context_of
    from accord.models.compute import compute_dtype
    from accord.models.folders import load_config, load_tokenizer
    from accord.text.template import Template

    config: Config = job.config
    checkpoint = job.work.resume()
    start = job.input("start")
    template, context = Template(load_tokenizer(start.model)), context_of(load_config(start.model))
    ranked, counts = _examples(template, _read(job, "data"), config, context, f"{job.name}.data")
    raised = too_long(job.name, counts, len(ranked), "comparisons")
    if config.keep_ches is not None:
        ranked, of_ches = of_lowest_ches(start.model, ranked, config.keep_ches, work=job.work, label=job.name)
        counts |= of_ches
    sets, held_counts = [ranked], None
    if config.validation is not None:
        held, held_counts = _examples(template, _read(job, "validation"), config, context, f"{job.name}.validation")
        sets.append(held)
    reference = (job.inputs["reference"] or (start,))[0].artifact if config.has_reference else None
    trees = [[one.tree for one in some] for some in sets]
    models = trainee(
        start.artifact,
        reference,
        trees,
        config,
        dtype=compute_dtype(),
        seed=job.seed,
        store=job.store,
        work=job.work,
        label=job.name,
    )
    said = models.reference
    data = [Preferences(some, None if said is None else said[at]) for at, some in enumerate(sets)]

    def losses_of(indices: Sequence[int], among: Preferences = data[0]) -> Iterator[Loss]:
        return among.losses(models.policy, indices, config, config.max_tokens)

    def held_out() -> Iterator[Loss]:
        return losses_of(range(len(sets[1])), data[1])

    measured = held_out if held_counts else None
    done = learn(job, checkpoint, models, trees[0], losses_of, measured, SHOWN, "eval_rewards/accuracies", raised)
    summary = {**counts, **done, "loss": config.loss, "parameters": config.parameters()}
    job.write_json("summary.json", summary | ({"validation": held_counts} if held_counts else {}))


def _read(job: Job, field: str) -> list[JudgedComparison]:
    return [record for part in job.inputs[field] for record in part.read("comparisons")]


def _examples(
    template: Template, comparisons: Sequence[JudgedComparison], config: Config, context: int | None, where: str
) -> tuple[list[RankedTree], dict[str, int]]:
    """What is learned from, and the counts for the summary. Raises UserError when nothing is left."""
    from accord.engine.direct.preference import nothing_left, ranked_trees

    ranked, left_out = ranked_trees(template, _rankings(config, comparisons), config.limits(context))
    if not ranked:
        what, remedy = nothing_left(left_out, len(comparisons))
        raise UserError(what, where=where, remedy=remedy)
    return ranked, {"num_comparisons": len(ranked), "num_pairs": sum(len(one.pairs) for one in ranked), **left_out}


def _rankings(config: Config, comparisons: Sequence[JudgedComparison]) -> list[Ranking]:
    return [
        derive_ranking(comparison, judgements, tie_below=config.tie_below) for comparison, judgements in comparisons
    ]


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. The share of the comparisons that `keep_ches` leaves is taken to be that of the pairs."""
    from accord.engine.direct.ches import ches_phase
    from accord.engine.direct.preference import ranked_trees
    from accord.engine.direct.trainee import direct_work
    from accord.engine.workload import Work

    context = sizes.dimensions.context

    def trees_of(comparisons: Sequence[JudgedComparison]) -> list[Tree]:
        rankings = _rankings(config, comparisons)
        return [one.tree for one in ranked_trees(sizes.template, rankings, config.limits(context))[0]]

    def trees_in(records: Records, field: str) -> list[Tree]:
        """Of the sample. Raises UserError as run() would, where it is all of the data."""
        if not records.complete:
            return trees_of(records.sample)
        ranked, _ = _examples(sizes.template, records.sample, config, context, f"{sizes.label}.{field}")
        return [one.tree for one in ranked]

    data, held = sizes.records("data", "comparisons"), sizes.records("validation", "comparisons")
    trees = trees_in(data, "data")
    if not trees:
        return Work()
    found = direct_work(
        sizes,
        config,
        trees,
        data.scale * (config.keep_ches or 1.0),
        reference=config.has_reference,
        longest=trees_of(data.longest),
        held=trees_in(held, "validation"),
        held_scale=held.scale,
        every=config.validate_every,
        kept=config.validation is not None and config.keep == "best",
    )
    if config.keep_ches is None:
        return found
    before = ches_phase(sizes, trees, data.scale)
    return replace(found, phases=[before, *found.phases], loaded=[sizes.policy, *found.loaded])


STEP = StepKind(produces="policy", version=2, config=Config, run=run, work=work, check=check, together=True)

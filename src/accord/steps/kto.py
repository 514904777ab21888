"""KTO: a policy learns from single responses that somebody called good or bad, such as thumbs up and down."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from accord.errors import UserError
from accord.steps.base import Caution, Job, LabelledRef, PlannedStep, StepKind
from accord.steps.direct import DirectConfig, cautions, learn
from accord.steps.too_long import too_long
from accord.types import LabelledResponse

if TYPE_CHECKING:
    from accord.algorithms.loss import Loss
    from accord.engine.direct.kto import LabelledTrees
    from accord.engine.sizes import Records, Sizes
    from accord.engine.workload import Work
    from accord.text.template import Template
    from accord.text.tree import Tree

_ADVISED = (1.0, 1.5)  # all good ones over all bad ones, as they are weighted (the paper, section 4.2)
_FEW = 8  # examples in an optimizer step


class Config(DirectConfig):
    """data: responses that are labelled good or bad, or comparisons: a response that won more of its pairs than it lost
    is good then, and the other way round bad. A list of parts is put together. Responses with a control token in a text
    are left out, and counted. validation: the same, not trained on; loss and rewards are measured now and then, and
    after the last optimizer step.

    beta: how much a nat of log ratio counts. desirable_weight, undesirable_weight: what a good and a bad response count
    (null: so much that all good ones count as much as all bad ones; when both are null the more frequent count 1).
    batch_size: examples an optimizer step; the reference point, a KL, is estimated from as many.
    """

    data: LabelledRef | list[LabelledRef]
    validation: LabelledRef | list[LabelledRef] | None = None
    beta: float = Field(0.1, gt=0)
    desirable_weight: float | None = Field(None, gt=0)
    undesirable_weight: float | None = Field(None, gt=0)


def check(step: PlannedStep) -> Iterable[Caution]:
    """Keys that do not go together."""
    yield from cautions(step)
    config = step.config
    assert isinstance(config, Config)
    if config.batch_size < _FEW:
        what = f"the reference point is estimated from an optimizer step's {config.batch_size} examples, which are few."
        if config.batch_size == 1:
            what = "the reference point is estimated from an optimizer step's only example, and is mostly noise."
        yield Caution("batch_size", what, f"Set it to {_FEW} or more.")


def run(job: Job) -> None:
    """Writes the policy's folder, model/, and summary.json: what was used, what was left out and why, the weights, the
    validation, and the alarms that the metrics give cause for."""
    from accord.algorithms.kto import balanced_weights
    from accord.engine.direct.kto import SETS, SHOWN, Feedback, mismatched
    from accord.engine.direct.trainee import trainee
    from accord.engine.rollout import context_of
    from accord.models.compute import compute_dtype
    from accord.models.folders import load_config, load_tokenizer
    from accord.seeds import derive_seed
    from accord.text.template import Template

    config: Config = job.config
    checkpoint = job.work.resume()
    start = job.input("start")
    template, context = Template(load_tokenizer(start.model)), context_of(load_config(start.model))
    labelled, counts = _examples(template, _read(job, "data"), config, context, f"{job.name}.data")
    raised = too_long(job.name, counts, len(labelled.good), "responses")
    parts, held_counts = [labelled], None
    if config.validation is not None:
        held, held_counts = _examples(template, _read(job, "validation"), config, context, f"{job.name}.validation")
        parts.append(held)
    others = [mismatched(part.trees, derive_seed(job.seed, "mismatch", at), context) for at, part in enumerate(parts)]
    num_good, num_bad = labelled.num_good, len(labelled.good) - labelled.num_good
    desirable, undesirable = balanced_weights(num_good, num_bad, config.desirable_weight, config.undesirable_weight)
    ratio = desirable * num_good / (undesirable * num_bad)
    if not _ADVISED[0] - 1e-6 <= ratio <= _ADVISED[1] + 1e-6:
        print(_warning(job.name, ratio), file=sys.stderr)
    parameters = {"beta": config.beta, "desirable_weight": desirable, "undesirable_weight": undesirable}

    reference = (job.inputs["reference"] or (start,))[0].artifact
    trees = [one for part, other in zip(parts, others, strict=True) for one in (part.trees, other)]
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
        names=SETS,
    )
    assert models.reference is not None
    said = models.reference
    data = [
        Feedback(part, other, said[2 * at], said[2 * at + 1])
        for at, (part, other) in enumerate(zip(parts, others, strict=True))
    ]

    def losses_of(indices: Sequence[int], among: Feedback = data[0]) -> Iterator[Loss]:
        return among.losses(models.policy, indices, config.max_tokens, parameters)

    def held_out() -> Iterator[Loss]:
        return losses_of(range(len(parts[1].trees)), data[1])

    measured = held_out if held_counts else None
    done = learn(job, checkpoint, models, labelled.trees, losses_of, measured, SHOWN, "eval_rewards/margins", raised)
    summary = {**counts, **done, "parameters": parameters, "weight_ratio": ratio}
    job.write_json("summary.json", summary | ({"validation": held_counts} if held_counts else {}))


def _warning(name: str, ratio: float) -> str:
    return (
        f"warning: {name}: all good responses together weigh {ratio:.2g} times what the bad ones do; the paper advises "
        f"{_ADVISED[0]:g} to {_ADVISED[1]:g}. Change desirable_weight or undesirable_weight."
    )


def _read(job: Job, field: str) -> list[LabelledResponse]:
    return [record for part in job.inputs[field] for record in part.read("labelled")]


def _examples(
    template: Template, records: Sequence[LabelledResponse], config: Config, context: int | None, where: str
) -> tuple[LabelledTrees, dict[str, int]]:
    """What is learned from, and the counts for the summary. Raises UserError when it does not suffice."""
    from accord.engine.direct.kto import labelled_trees

    found, left_out = labelled_trees(template, records, config.limits(context))
    num_good, num = found.num_good, len(found.good)
    counts = {"num_good": num_good, "num_bad": num - num_good, **left_out}
    if num_good in (0, num):
        reasons = ", ".join(f"{count} {name.removeprefix('num_').replace('_', ' ')}" for name, count in counts.items())
        what = f"KTO learns from good and from bad responses, and of {len(records)} there are {reasons}"
        raise UserError(what, where=where, remedy="Add responses of the kind that is missing, or raise the limits.")
    if len({tree.prompt_ids for tree in found.trees}) == 1:
        what = "all responses are to one prompt, and KTO's reference point needs answers to other prompts"
        raise UserError(what, where=where, remedy="Add responses to another prompt.")
    return found, counts


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.direct.kto import labelled_trees, mismatched
    from accord.engine.direct.trainee import direct_work
    from accord.engine.workload import Work

    context = sizes.dimensions.context

    def trees_of(records: Records, field: str = "") -> list[Tree]:
        if field and records.complete:  # refused as run() would
            return _examples(sizes.template, records.sample, config, context, f"{sizes.label}.{field}")[0].trees
        return labelled_trees(sizes.template, records.read("labelled"), config.limits(context))[0].trees

    data, held = sizes.records("data", "labelled"), sizes.records("validation", "labelled")
    trees, held_trees = trees_of(data, "data"), trees_of(held, "validation")
    if not trees:
        return Work()
    return direct_work(
        sizes,
        config,
        trees,
        data.scale,
        reference=True,
        longest=trees_of(data.extremes),
        mismatched=mismatched(trees, 0, context),
        held=[*held_trees, *mismatched(held_trees, 0, context)],
        held_scale=held.scale,
        every=config.validate_every,
        kept=config.validation is not None and config.keep == "best",
    )


STEP = StepKind(produces="policy", version=2, config=Config, run=run, work=work, check=check, together=True)

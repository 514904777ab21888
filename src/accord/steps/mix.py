"""Parts of data sets put together by ratio, as one data set, with a share of the prompts held out.

    - mix: {name: helpful-data, main: labels-helpful@all, others: [labels-safety@all, open.pairs], share: 0.5}
    - mix: {name: safety-data, main: labels-safety@all, others: labels-helpful@all, share: 0.1, validation: 0.1}
    - mix: {name: demos, kind: demonstrations, main: helpful.demos, others: safe.demos, fraction: 0.25}

The first two are Llama 2's two mixtures of comparisons, the third is one point of its study of how much safety data
is enough. What is held out is the part `validation`, of `main` alone: the others' share of it is left to the mixture
that they are the main part of. Nothing that was collected is changed, or lost: it stays in the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from accord.data.derive import VIEWS
from accord.data.mixtures import (
    HELD_OUT,
    Dealt,
    deal,
    drawn,
    largest_share,
    num_wanted,
    ordered_alone,
    with_own_ids,
)
from accord.data.records import RecordKind, write_records
from accord.data.splits import REST as TRAIN
from accord.errors import UserError
from accord.seeds import derive_seed
from accord.steps.base import Caution, Contradiction, Job, PlannedStep, Ref, StepConfig, StepKind

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

MixedRef = Annotated[str, Ref("data", ("comparisons", "demonstrations", "prompts"))]


class Config(StepConfig):
    """kind: of the records. main: what is taken whole, less what is held out. others: what is drawn from, all of them
    together, uniformly. share: the share of the others in the mixture: 0.5 for as many as of `main`, 0.1 for one of
    ten. fraction: in its place, the fraction of the others that is taken; 0 for none. Without either all of them are.
    shortfall: whether it is an error that there are too few others for the share (refuse), or all of them are taken,
    and what the share came to is said (accept). validation: the share of prompts that are held out, about; which they
    are follows from their text alone, so that all mixtures with the same share, in every round, hold out the same.
    min_records: so many usable records are wanted of each of `main`. drop_unsafe_chosen: comparisons in which an unsafe
    response was preferred to a safe one are left out, and counted, as in Llama 2."""

    kind: Literal["comparisons", "demonstrations", "prompts"] = "comparisons"
    main: MixedRef | list[MixedRef]
    others: MixedRef | list[MixedRef] | None = None
    share: float | None = Field(None, ge=0, lt=1)
    fraction: float | None = Field(None, ge=0, le=1)
    shortfall: Literal["refuse", "accept"] = "refuse"
    validation: float = Field(0.0, ge=0, lt=1)
    min_records: int = Field(1, ge=1)
    drop_unsafe_chosen: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.share is not None and self.fraction is not None:
            raise ValueError("share and fraction both say how much is taken of the others: leave one out")
        if self.others is None and (self.share or self.fraction):
            raise ValueError("there are no others to take a share of: name them, or leave share and fraction out")
        return self

    def parts(self) -> Mapping[str, RecordKind]:
        return {TRAIN: self.kind, **({HELD_OUT: self.kind} if self.validation else {})}


def run(job: Job) -> None:
    """Writes train.jsonl, in a drawn order; validation.jsonl, where something is held out; and summary.json: how many
    records of each source are in which part, what was left out, and of demonstrations what they are like."""
    config: Config = job.config
    counts = {"num_unjudged": 0, "num_unsafe_chosen": 0} if config.kind == "comparisons" else {}
    main, others = (_read(job, field, counts) for field in ("main", "others"))
    for name, records in main.items():
        if len(records) < config.min_records:
            raise UserError(
                f"{name} has {len(records)} usable {config.kind}, and {config.min_records} are wanted",
                where=f"{job.name}.main",
                remedy="Collect more of them, or lower min_records. What was collected stays in the store.",
            )
    every = [(name, record) for source in (main, others) for name, records in source.items() for record in records]
    num_main = sum(map(len, main.values()))
    dealt = deal([record for _, record in every], config.kind, config.validation)
    held_out = [i for i in dealt.held_out if i < num_main]
    own = [i for i in dealt.train if i < num_main]
    _check_sides(job, dealt, held_out, own, num_main)
    rest = [i for i in dealt.train if i >= num_main]
    taken = [rest[at] for at in drawn(len(rest), _wanted(job, len(own), len(rest)), derive_seed(job.seed, "others"))]
    mixed = [*own, *taken]
    order = drawn(len(mixed), len(mixed), derive_seed(job.seed, "order"))
    parts = {TRAIN: [mixed[at] for at in order], **({HELD_OUT: held_out} if config.validation else {})}
    for part, indices in parts.items():
        records = with_own_ids([every[i][1] for i in indices], config.kind)
        write_records(job.work.out / f"{part}.jsonl", config.kind, records)
    summary: dict[str, Any] = {
        "parts": {part: {"kind": config.kind, "num_records": len(indices)} for part, indices in parts.items()},
        "taken_from": {
            name: {f"num_{part}": sum(every[i][0] == name for i in indices) for part, indices in parts.items()}
            for name in (*main, *others)
        },
        **counts,
        "num_near_held_out": len(dealt.near),
        "num_others_held_out": len(dealt.held_out) - len(held_out),
        "others_share": len(taken) / len(mixed),
    }
    if config.kind == "demonstrations":
        from accord.evaluate.demonstrations import quality

        of = {"main": own, "others": taken}
        summary["quality"] = {side: quality([every[i][1] for i in indices]) for side, indices in of.items() if indices}
    job.write_json("summary.json", summary)


def _read(job: Job, field: str, counts: dict[str, int]) -> dict[str, list[Any]]:
    """The usable records of each source; what is left out is added to the counts."""
    config: Config = job.config
    found: dict[str, list[Any]] = {}
    for source in job.inputs[field]:
        found[source.name] = source.read(config.kind)
        if config.kind == "comparisons":
            ordered = ordered_alone(found[source.name], drop_unsafe_chosen=config.drop_unsafe_chosen)
            found[source.name], left_out = ordered
            for name, num in left_out.items():
                counts[name] += num
    return found


def _check_sides(job: Job, dealt: Dealt, held_out: list[int], own: list[int], num_main: int) -> None:
    """Raises UserError when one side is empty."""
    config: Config = job.config
    if config.validation and not held_out:
        what = f"none of the prompts of {num_main} {config.kind} is among the {config.validation:g} that are held out"
        remedy = "Raise `validation`, or bring more prompts: records with the same one stay together."
        raise UserError(what, where=f"{job.name}.validation", remedy=remedy)
    if not own:
        near = sum(i < num_main for i in dealt.near)
        what = f"of {num_main} {config.kind} {len(held_out)} are held out, and {near} have nearly the same prompt"
        remedy = "Lower `validation`, or bring more prompts: records with the same one stay together."
        raise UserError(f"{what}: none is left", where=f"{job.name}.validation", remedy=remedy)


def _wanted(job: Job, num_main: int, num_others: int) -> int:
    """How many of the others are taken. Raises UserError when there are too few."""
    config: Config = job.config
    wanted = num_wanted(num_main, num_others, share=config.share, fraction=config.fraction)
    if wanted > num_others and config.shortfall == "refuse":
        most = largest_share(num_main, num_others)
        raise UserError(
            f"a share of {config.share:g} beside {num_main} {config.kind} takes {wanted} others, "
            f"and there are {num_others}",
            where=f"{job.name}.share",
            remedy=f"Set share: {most:g} or lower, or shortfall: accept to take what there is.",
        )
    return min(wanted, num_others)


def work(config: Config, sizes: Sizes) -> Work:
    """Nothing but reading and writing; what it writes is about as long as what it reads."""
    from accord.engine.sizes import Records
    from accord.engine.workload import Work

    main, others = (sizes.records(field, config.kind) for field in ("main", "others"))
    num_main, there = (round(one.total * (1 - config.validation)) for one in (main, others))
    taken = min(num_wanted(num_main, there, share=config.share, fraction=config.fraction), there)
    beside = others.sample[: round(len(main.sample) * taken / max(num_main, 1))]
    longest = [*main.longest, *others.longest] if taken else main.longest
    ordinary = main.ordinary and (others.ordinary or not taken)
    makes = {TRAIN: Records(config.kind, [*main.sample, *beside], num_main + taken, longest, ordinary=ordinary)}
    if config.validation:
        makes[HELD_OUT] = Records(config.kind, main.sample, main.total - num_main, main.longest, ordinary=main.ordinary)
    return Work(makes=makes)


def check(step: PlannedStep) -> Iterator[Caution]:
    """Whether all can be put together, once each."""
    config = step.config
    assert isinstance(config, Config)
    seen: dict[tuple[str, str | None], str] = {}
    for field in ("main", "others"):
        if getattr(config, field) == []:
            raise Contradiction(field, "an empty list names no data", "Name a part, as in `mine.train`.")
        for link in step.parents[field]:
            if link.kind != config.kind and (link.kind, config.kind) not in VIEWS:
                what = f"{link.name} holds {link.kind}, and {config.kind} are put together here"
                raise Contradiction(field, what, f"Set kind: {link.kind}, or name another part.")
            if config.kind == "comparisons" and link.step.kind == "sample":
                what = f"nobody has judged the responses of {link.step.name!r}"
                remedy = f"Put a step below it, `- collect: {{comparisons: {link.step.name}, ...}}`, and name that."
                raise Contradiction(field, what, remedy)
            if (link.step.key, link.part) in seen:
                what = f"{link.name} is named twice, in {seen[link.step.key, link.part]} and {field}"
                raise Contradiction(field, what, "Leave one of them out.")
            seen[link.step.key, link.part] = field
    if config.kind != "comparisons" and "drop_unsafe_chosen" in config.model_fields_set:
        what = f"drop_unsafe_chosen is of comparisons, and these are {config.kind}"
        raise Contradiction("drop_unsafe_chosen", what, "Take it out.")
    if config.shortfall == "accept" and config.share is None:
        what = "without a share there can be no shortfall of one"
        raise Contradiction("shortfall", what, "Take it out, or set share.")
    yield from ()


STEP = StepKind(produces="data", version=1, config=Config, run=run, work=work, check=check)

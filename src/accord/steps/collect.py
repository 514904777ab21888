"""Judgements of comparisons: by people, by a function of the user's own (a judge), or simulated from a reward.

People are asked in `accord web`, where the step publishes its comparisons as a campaign; it waits until they have
answered, and what they said by then is frozen in its artifact. The function's file is treated as that of a
`reward_function`; what it is given and returns stands in `accord.collect.annotator`. Judgements that the comparisons
hold already are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import Field, model_validator

from accord.data.records import JudgedComparison, RecordKind, write_records
from accord.errors import Interrupted, UserError, Waiting
from accord.paths import text_file
from accord.steps.base import (
    Caution,
    ComparisonsRef,
    Contradiction,
    Job,
    PlannedStep,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.reward_units import probability_unit, taken_for_probability
from accord.store.progress import Progress
from accord.types import Comparison, Judgement
from accord.user_code import Source, with_fingerprint

if TYPE_CHECKING:
    from torch import Tensor

    from accord.collect.annotator import Annotator
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

PART = "train"
CODE = "annotator.py"
PEOPLE = "human"  # as an annotator
_POLLS, _POLL_SECONDS = 10, 0.2  # between two looks at what people have answered
_OF_SAFETY = {"safety_threshold", "safety_noise"}
KEYWORDS = ("prompts", "responses", "prefills", "comparison_ids")  # of collect.annotator


class Config(StepConfig):
    """comparisons: what is judged. num_comparisons: the first so many of them (null: all). file, function: a Python
    file and the function in it that gives grades. annotator: `human` for people; else how the function's judgements are
    signed (null: the function's name). reward: the reward whose scores are the grades, in place of a function; its
    judgements are signed as simulated. noise: the share of comparisons that a simulated annotator judges in reverse.
    strength_gaps: of scores, at which it finds one of two responses slightly better, better and significantly better
    (below them negligibly): the grades are then those of people's answers, and not the scores. safety_reward: a reward
    that says for it whether a response is safe: a reward model with a safety_coef, whose probability is sigmoid(raw
    score), or a rule, whose number from 0 to 1 it is. safety_threshold: below that probability a response is labelled
    unsafe. safety_noise: the share of these labels that is turned round.
    batch_size: comparisons that are judged at once; what was judged before a stop is kept. campaign: of people, its
    name in `accord web` (null: one of the step's name and its comparisons). overlap: people who are asked about each
    comparison. num_answers: answers wanted in all (null: overlap of each). strengths: ask people by how much one of two
    responses is better. safety: ask people of each response whether it is safe. guideline: a text file that tells
    people how to judge."""

    comparisons: ComparisonsRef
    num_comparisons: int | None = Field(None, gt=0)
    file: str | None = Field(None, min_length=1)
    function: str | None = Field(None, min_length=1)
    annotator: str | None = Field(None, min_length=1)
    reward: RewardRef | None = None
    noise: float = Field(0.0, ge=0, le=0.5)
    strength_gaps: tuple[float, float, float] | None = None
    safety_reward: RewardRef | None = None
    safety_threshold: float = Field(0.5, gt=0, lt=1)
    safety_noise: float = Field(0.0, ge=0, le=0.5)
    batch_size: int = Field(16, gt=0)
    campaign: str | None = Field(None, min_length=1, max_length=100)
    overlap: int = Field(1, ge=1, le=100)
    num_answers: int | None = Field(None, gt=0)
    strengths: bool = True
    safety: bool = False
    guideline: str | None = Field(None, min_length=1)
    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        return with_fingerprint(values, KEYWORDS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is None) != (self.function is None):
            raise ValueError("file and function go together: the file, and the function in it")
        people = self.annotator == PEOPLE
        if (self.file is not None) + (self.reward is not None) + people != 1:
            raise ValueError("name who judges: either `annotator: human`, or file and function, or reward")
        if self.reward is None:
            for key in ("noise", "strength_gaps", "safety_reward"):
                if getattr(self, key):
                    raise ValueError(f"{key} is for an annotator that is simulated from a reward")
        if self.safety_reward is None and (unused := _OF_SAFETY & self.model_fields_set):
            raise ValueError(f"{min(unused)} is for labels of safety: name who gives them with `safety_reward`")
        if (
            self.strength_gaps is not None
            and not 0 < self.strength_gaps[0] <= self.strength_gaps[1] <= (self.strength_gaps[2])
        ):
            raise ValueError("strength_gaps ascend from above 0, from slightly to significantly better")
        if self.reward is not None and self.annotator is not None:
            raise ValueError("a simulated annotator signs as simulated: leave `annotator` out")
        of_people = {"campaign", "overlap", "num_answers", "strengths", "safety", "guideline"} & self.model_fields_set
        if of_people and not people:
            raise ValueError(f"{min(of_people)} is for people: set `annotator: human`, or leave it out")
        return self

    @staticmethod
    def parts() -> Mapping[str, RecordKind]:
        return {PART: "comparisons"}


def run(job: Job) -> None:
    """Writes train.jsonl, the comparisons with a judgement; summary.json; and annotator.py, a copy of the file."""
    config: Config = job.config
    given = job.input("comparisons").read("comparisons")[: config.num_comparisons]
    comparisons = [comparison for comparison, _ in given]
    if config.strength_gaps is not None and any(len(one.responses) != 2 for one in comparisons):
        what = "there are comparisons of more than two responses, of which nobody says by how much one is better"
        raise UserError(what, where=f"{job.name}.strength_gaps", remedy="Leave it out.")
    if config.annotator == PEOPLE:
        new, more = _people(job, comparisons)
    else:
        new, more = _program(job, comparisons)
    of_comparison: dict[str, tuple[Judgement, ...]] = {}
    for judgement in new:
        of_comparison[judgement.comparison_id] = (*of_comparison.get(judgement.comparison_id, ()), judgement)
    judged: list[JudgedComparison] = [(one, (*old, *of_comparison.get(one.id, ()))) for one, old in given]
    kept = [record for record in judged if record[1]]
    if not kept:
        raise UserError(f"none of the {len(given)} comparisons was answered", where=job.name)
    write_records(job.work.out / f"{PART}.jsonl", "comparisons", kept)
    num = len(of_comparison)
    job.write_json("summary.json", {**more, "num_judged": num, "num_unanswered": len(given) - num})


def _program(job: Job, comparisons: Sequence[Comparison]) -> tuple[list[Judgement], dict[str, Any]]:
    """Batch by batch, from where it was before a stop."""
    config: Config = job.config
    checkpoint = job.work.resume()
    annotator = _annotator(job)
    rows: list[list[Any]] = checkpoint.state["judged"] if checkpoint else []  # [comparison's id, grades, safe]
    done = checkpoint.iteration if checkpoint else 0

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"judged": rows}

    with job.work.progress(f"{job.name}: judging", len(comparisons), "comparisons", start=done) as progress:
        while done < len(comparisons):
            batch = comparisons[done : done + config.batch_size]
            rows += [[one.comparison_id, list(one.grades), list(one.safe)] for one in annotator.judge(batch)]
            done += len(batch)
            progress.advance(len(batch))
            job.work.checkpoint_or_stop(done, state)
    new = [Judgement(name, annotator.name, tuple(grades), tuple(safe)) for name, grades, safe in rows]
    labels = [label for _, _, safe in rows for label in safe]
    counts = {"num_labelled": len(labels), "num_unsafe": labels.count(False)} if labels else {}
    return new, {"annotator": annotator.name, **counts}


def _people(job: Job, comparisons: Sequence[Comparison]) -> tuple[list[Judgement], dict[str, Any]]:
    """Publishes the comparisons, and waits. The label database holds all that there is to go on with."""
    from accord.collect.human import HumanAnnotator
    from accord.labels.campaigns import Settings
    from accord.labels.migrate import labels_of_store

    config: Config = job.config
    assert job.store is not None, "a recipe has a store"
    name = config.campaign or f"{job.name}-{job.input('comparisons').artifact.manifest['key'][:8]}"
    settings = Settings(
        overlap=config.overlap, num_answers=config.num_answers, strengths=config.strengths, safety=config.safety
    )
    guideline = text_file(config.guideline, "the guideline") if config.guideline else ""
    database = labels_of_store(job.store.root)
    try:
        with _waiting(job, name) as wait:
            people = HumanAnnotator(database, name, settings, guideline, wait)
            return people.judge(comparisons), {"annotator": PEOPLE, **people.summary()}
    finally:
        database.close()


@contextmanager
def _waiting(job: Job, campaign: str) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how far people are, and waits a little."""
    assert job.store is not None
    where = "accord web" if str(job.store.root) == "accord-store" else f"accord web --store {job.store.root}"
    shown: Progress | None = None
    with ExitStack() as stack:

        def wait(num_answers: int, num_wanted: int) -> None:
            nonlocal shown
            if not job.work.waits:
                raise Waiting(
                    f"{num_answers} of {num_wanted} answers are in; people give them in `{where}`, {campaign!r}"
                )
            label = f"{job.name}: people are asked in `{where}`, campaign {campaign!r}"
            if shown is None:
                shown = stack.enter_context(job.work.progress(label, num_wanted, "answers", start=num_answers))
            shown.advance(num_answers - shown.done)
            for _ in range(_POLLS):
                if job.work.stop_requested():
                    raise Interrupted
                time.sleep(_POLL_SECONDS)

        yield wait


def _annotator(job: Job) -> Annotator:
    from accord.collect.annotator import FunctionAnnotator
    from accord.collect.simulated import RewardAnnotator, SafetyLabels
    from accord.models.compute import compute_dtype
    from accord.rewards.loading import artifact_reward

    config: Config = job.config
    if config.file is not None and config.function is not None:
        source = Source.read(config.file, config.fingerprint)
        (job.work.out / CODE).write_bytes(source.content)
        return FunctionAnnotator(source.load(config.function), config.annotator or config.function)
    reward, safety = job.input("reward"), None
    for by in job.inputs["safety_reward"]:
        unit = probability_unit(by.artifact.kind, by.artifact.manifest["config"])
        asked = artifact_reward(by.artifact, compute_dtype())
        safety = SafetyLabels(asked, by.name, unit, config.safety_threshold, config.safety_noise)
    scores = artifact_reward(reward.artifact, compute_dtype())
    return RewardAnnotator(scores, reward.name, config.noise, job.seed, config.strength_gaps, safety)


def check(step: PlannedStep) -> Iterator[Caution]:
    """Who cannot say what is wanted."""
    config = cast(Config, step.config)
    for link in step.parents["safety_reward"]:
        yield from taken_for_probability(link.step, "safety_reward")
    num = getattr(step.parents["comparisons"][0].step.config, "num_responses", 2)
    if config.strength_gaps is not None and num != 2:
        what = f"of {num} responses nobody says by how much one is better"
        raise Contradiction("strength_gaps", what, "Leave it out, or sample two responses to a prompt.")


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. A function of the user's takes the time that it takes; every comparison gets an order."""
    from accord.engine.sizes import Records
    from accord.engine.workload import Phase, Work, scoring

    judged = sizes.records("comparisons", "comparisons").first(config.num_comparisons)
    asked = sizes.asked("reward", "safety_reward")
    trees = [sizes.template.tree(one.prompt, one.responses) for one, _ in judged.sample]
    phase = Phase(scoring(sizes.template, trees, judged.scale * len(asked)), frozen=asked)
    made = [
        (one, old or (Judgement(one.id, "expected", tuple(float(-k) for k in range(len(one.responses)))),))
        for one, old in judged.sample
    ]
    makes = {PART: Records("comparisons", made, judged.total)}
    return Work([phase], loaded=asked, makes=makes)


STEP = StepKind(produces="data", version=2, config=Config, run=run, work=work, check=check)

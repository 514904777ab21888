"""Judgements of comparisons, by a function of the user's own (a judge), or simulated from a reward.

The function's file is treated as that of a `reward_function`; what it is given and returns stands in
`accord.collect.annotator`. Judgements that the comparisons hold already are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from accord.data.records import RecordKind, write_records
from accord.errors import UserError
from accord.steps.base import ComparisonsRef, Job, RewardRef, StepConfig, StepKind
from accord.types import Judgement
from accord.user_code import Source, with_fingerprint

if TYPE_CHECKING:
    from torch import Tensor

    from accord.collect.annotator import Annotator
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

PART = "train"
CODE = "annotator.py"
KEYWORDS = ("prompts", "responses", "prefills", "comparison_ids")  # of collect.annotator


class Config(StepConfig):
    """comparisons: what is judged. num_comparisons: the first so many of them (null: all). file, function: a Python
    file and the function in it that gives grades. annotator: how its judgements are signed (null: the function's
    name). reward: the reward whose scores are the grades, in place of a function; its judgements are signed as
    simulated. noise: the share of comparisons that a simulated annotator judges in reverse. batch_size: comparisons
    that are judged at once; what was judged before a stop is kept."""

    comparisons: ComparisonsRef
    num_comparisons: int | None = Field(None, gt=0)
    file: str | None = Field(None, min_length=1)
    function: str | None = Field(None, min_length=1)
    annotator: str | None = Field(None, min_length=1)
    reward: RewardRef | None = None
    noise: float = Field(0.0, ge=0, le=0.5)
    batch_size: int = Field(16, gt=0)
    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        return with_fingerprint(values, KEYWORDS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is None) != (self.function is None):
            raise ValueError("file and function go together: the file, and the function in it")
        if (self.file is None) == (self.reward is None):
            raise ValueError("name who judges: either file and function, or reward")
        if self.reward is None and self.noise:
            raise ValueError("noise is for an annotator that is simulated from a reward")
        if self.reward is not None and self.annotator is not None:
            raise ValueError("a simulated annotator signs as simulated: leave `annotator` out")
        return self

    @staticmethod
    def parts() -> Mapping[str, RecordKind]:
        return {PART: "comparisons"}


def run(job: Job) -> None:
    """Writes train.jsonl, the comparisons with a judgement; summary.json; and annotator.py, a copy of the file."""
    config: Config = job.config
    checkpoint = job.work.resume()
    given = job.input("comparisons").read("comparisons")[: config.num_comparisons]
    annotator = _annotator(job)
    rows: list[list[Any]] = checkpoint.state["judged"] if checkpoint else []  # [comparison's id, grades]
    done = checkpoint.iteration if checkpoint else 0

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"judged": rows}

    with job.work.progress(f"{job.name}: judging", len(given), "comparisons", start=done) as progress:
        while done < len(given):
            batch = [comparison for comparison, _ in given[done : done + config.batch_size]]
            rows += [[judgement.comparison_id, list(judgement.grades)] for judgement in annotator.judge(batch)]
            done += len(batch)
            progress.advance(len(batch))
            job.work.checkpoint_or_stop(done, state)
    new = {name: Judgement(name, annotator.name, tuple(grades)) for name, grades in rows}
    judged = [(one, (*old, new[one.id]) if one.id in new else old) for one, old in given]
    kept = [record for record in judged if record[1]]
    if not kept:
        raise UserError(f"none of the {len(given)} comparisons was answered", where=job.name)
    write_records(job.work.out / f"{PART}.jsonl", "comparisons", kept)
    summary = {"annotator": annotator.name, "num_judged": len(new), "num_unanswered": len(given) - len(new)}
    job.write_json("summary.json", summary)


def _annotator(job: Job) -> Annotator:
    from accord.collect.annotator import FunctionAnnotator, RewardAnnotator
    from accord.models.compute import compute_dtype
    from accord.rewards.loading import artifact_reward

    config: Config = job.config
    if config.file is not None and config.function is not None:
        source = Source.read(config.file, config.fingerprint)
        (job.work.out / CODE).write_bytes(source.content)
        return FunctionAnnotator(source.load(config.function), config.annotator or config.function)
    reward = job.input("reward")
    return RewardAnnotator(artifact_reward(reward.artifact, compute_dtype()), reward.name, config.noise, job.seed)


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. A function of the user's takes the time that it takes; every comparison gets an order."""
    from accord.engine.sizes import Records
    from accord.engine.workload import Phase, Work, scoring

    given = sizes.records("comparisons", "comparisons")
    judged = given.first(config.num_comparisons)
    asked = sizes.asked("reward")
    trees = [sizes.template.tree(one.prompt, one.responses) for one, _ in judged.sample]
    phase = Phase(scoring(sizes.template, trees, judged.scale * len(asked)), frozen=asked)
    made = [
        (one, old or (Judgement(one.id, "expected", tuple(float(-k) for k in range(len(one.responses)))),))
        for one, old in given.sample
    ]
    makes = {PART: Records("comparisons", made, given.total)}
    return Work([phase], loaded=asked, makes=makes)


STEP = StepKind(produces="data", version=1, config=Config, run=run, work=work)

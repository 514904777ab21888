"""Judgements by a language model: of an OpenAI-compatible endpoint, or a policy of one's own.

As `collect` it adds judgements to comparisons, and its data is for everything that takes comparisons. Each pair of
responses is asked in both orders. What an endpoint has answered stays in the store, so that nobody pays for it twice:
a run that was stopped, or whose endpoint died, goes on with the next question. `checked_by` names comparisons that
people have judged: how far the judge agrees with them stands in the summary, and a policy of one's own that agrees in
fewer than 55 % of pairs is refused, unless `force` is set. A model of 135M parameters is about chance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from accord.data.records import JudgedComparison, RecordKind, write_records
from accord.errors import UserError
from accord.steps.asking import Asked, Endpoint, key_cautions
from accord.steps.base import (
    Caution,
    ComparisonsRef,
    Job,
    PlannedStep,
    PolicyRef,
    StepConfig,
    StepKind,
)
from accord.types import Comparison, Judgement

if TYPE_CHECKING:
    from torch import Tensor

    from accord.collect.judge import JudgeAnnotator

PART = "train"


class Config(StepConfig, Endpoint, Asked):
    """comparisons: what is judged. num_comparisons: the first so many of them (null: all). policy: in place of an
    endpoint, a policy that judges. checked_by: comparisons that people have judged; num_checked: the first so many of
    them. force: take a policy that hardly agrees with people. batch_size: comparisons between two points where the step
    can be stopped."""

    comparisons: ComparisonsRef
    num_comparisons: int | None = Field(None, gt=0)
    policy: PolicyRef | None = None
    checked_by: ComparisonsRef | None = None
    num_checked: int = Field(200, gt=0)
    force: bool = False
    batch_size: int = Field(16, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.endpoint is None) == (self.policy is None):
            raise ValueError("name who judges: either endpoint and model, or policy")
        return self

    @staticmethod
    def parts() -> Mapping[str, RecordKind]:
        return {PART: "comparisons"}


def check(step: PlannedStep) -> Iterator[Caution]:
    """A judge that nobody has checked, that judges itself, or whose key everybody on the way could read."""
    config = step.config
    assert isinstance(config, Config)
    yield from key_cautions(config)
    if config.policy is not None and config.checked_by is None:
        what = "whether this policy can judge is not known; a small one is about chance."
        yield Caution("policy", what, "Set checked_by to comparisons that people have judged.")
    wrote = {
        link.step.key for parent in step.parents["comparisons"] for link in parent.step.parents.get("policies", ())
    }
    if any(link.step.key in wrote for link in step.parents.get("policy", ())):
        yield Caution("policy", "a policy judges its own responses, which it will favour.", "Take another one.")


def run(job: Job) -> None:
    """Writes train.jsonl, the comparisons with a judgement; verdicts.jsonl, what was answered in each order; where a
    `sample` step says who wrote what, judged.jsonl, for `accord eval win-rate`; and summary.json."""
    from accord.collect.judge import Points, Verdict, from_points, from_verdicts, judged_rows
    from accord.collect.judge_quality import in_both_orders, judge_alarms
    from accord.monitor.alarms import as_json

    config: Config = job.config
    checkpoint = job.work.resume()
    judge = _judge(job)
    given = job.input("comparisons").read("comparisons")[: config.num_comparisons]
    comparisons = [comparison for comparison, _ in given]
    state: dict[str, Any] = dict(checkpoint.state) if checkpoint else {"checked": _checked(job, judge), "rows": []}
    rows: list[dict[str, Any]] = state["rows"]
    done = checkpoint.iteration if checkpoint else 0

    def kept() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, state

    with job.work.progress(f"{job.name}: judging", len(comparisons), "comparisons", start=done) as progress:
        while done < len(comparisons):
            batch = comparisons[done : done + config.batch_size]
            rows += [asdict(one) for one in (judge.points(batch) if judge.in_points else judge.verdicts(batch))]
            done += len(batch)
            progress.advance(len(batch))
            job.work.checkpoint_or_stop(done, kept)
    if judge.in_points:
        new = from_points(judge.name, comparisons, [Points(**row) for row in rows])
        more: dict[str, Any] = {}
    else:
        verdicts = [Verdict(**row) for row in rows]
        new, more = from_verdicts(judge.name, comparisons, verdicts), in_both_orders(verdicts, job.seed)
        if policies := _policies(job):
            lines = [json.dumps(row) + "\n" for row in judged_rows(judge.name, comparisons, policies, verdicts)]
            (job.work.out / "judged.jsonl").write_text("".join(lines), encoding="utf-8")
    more = {"annotator": judge.name, **more, **state["checked"]}
    _write(job, given, new, rows, {**more, "alarms": as_json(judge_alarms(more))})


def _write(
    job: Job,
    given: Sequence[JudgedComparison],
    new: Sequence[Judgement],
    rows: Sequence[Mapping[str, Any]],
    more: Mapping[str, Any],
) -> None:
    own = {one.comparison_id: one for one in new}
    judged = [(one, (*old, own[one.id]) if one.id in own else old) for one, old in given]
    records = [record for record in judged if record[1]]
    if not records:
        raise UserError(
            f"nothing of what was answered to {len(given)} comparisons could be read", where=job.name, remedy=_READ
        )
    write_records(job.work.out / f"{PART}.jsonl", "comparisons", records)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (job.work.out / "verdicts.jsonl").write_text(lines, encoding="utf-8")
    job.write_json("summary.json", {**more, "num_judged": len(own), "num_unanswered": len(given) - len(own)})


def _policies(job: Job) -> dict[str, list[str]]:
    """Who wrote each response of a comparison, as far as it is known."""
    path = job.input("comparisons").artifact.path / "origins.jsonl"
    if not path.is_file():
        return {}
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {row["id"]: [one["policy"] for one in row["responses"]] for row in rows}


def _judge(job: Job) -> JudgeAnnotator:
    from accord.collect.policy_asker import PolicyAsker
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy

    config: Config = job.config
    if config.endpoint is not None:
        assert job.store is not None, "a recipe has a store"
        return config.annotator(config.asker(job.store.root))
    source = job.input("policy")
    return config.annotator(PolicyAsker(Policy.load(source.model, compute_dtype()), source.name))


def _checked(job: Job, judge: JudgeAnnotator) -> dict[str, Any]:
    """How far the judge agrees with people. Raises UserError for a policy of one's own that hardly does."""
    from accord.collect.judge_quality import LEAST, with_people

    config: Config = job.config
    if config.checked_by is None:
        return {}
    said = job.input("checked_by").read("comparisons")[: config.num_checked]
    asked: list[Comparison] = [one for one, _ in said]
    with job.work.progress(f"{job.name}: judging what people judged", len(asked), "comparisons") as progress:
        judged: list[Judgement] = []
        for at in range(0, len(asked), config.batch_size):
            batch = asked[at : at + config.batch_size]
            judged += judge.judge(batch)
            job.work.advancer(progress)(len(batch))
    found = with_people(said, judged, job.seed)
    if found is None:
        raise UserError("people and the judge have no pair in common", where=job.name, remedy=_READ)
    if config.policy is not None and found.agreement.value < LEAST and not config.force:
        share = found.agreement
        raise UserError(
            f"this policy agrees with people on {share.value:.1%} of {found.num_pairs} pairs ({share.low:.1%} to "
            f"{share.high:.1%}), where chance gives 50 %: it cannot judge",
            where=job.name,
            remedy="Take a stronger judge; or set `force: true` to go on all the same.",
        )
    known = {name: value for name in ("kappa", "alpha") if (value := getattr(found, name)) == value}
    return {"with_people": {"num_pairs": found.num_pairs, "agreement": asdict(found.agreement), **known}}


_READ = "Look at what the judge writes: it may need another prompt, or more tokens."

STEP = StepKind(produces="data", version=1, config=Config, run=run, check=check)

"""What language models and benchmarks say of evaluated policies: the part of the step `evaluate`. Not a step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from accord.collect.judge_prompts import judge_prompt
from accord.errors import UserError
from accord.steps import held_out
from accord.steps.asking import Asked, Endpoint, key_cautions
from accord.steps.base import Caution, Contradiction, Job, Link, PlannedStep
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.monitor.alarm import Alarm

JUDGED = "judged.jsonl"  # here, and of a `judge` step that knows who wrote what


class Judging(Endpoint, Asked):
    """endpoint, model, prompt, rubric: as a `judge` step has them. num_prompts: the first so many (null: all)."""

    num_prompts: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if self.endpoint is None:
            raise ValueError("endpoint and model are missing; a policy judges in a `judge` step, named with `judged`")
        if judge_prompt(self.prompt).prompt.mode != "pairwise":
            raise ValueError(f"a judge of win rates compares two responses, and {self.prompt!r} looks at one")
        return self


def judged(
    job: Job, prompts: Sequence[Prompt], texts: Mapping[str, Sequence[str]], results: dict[str, Any]
) -> list[Alarm]:
    """What language models say, into the results: `judges`, and of the first judge a win rate in each policy's row.
    texts: by policy, its first response to each prompt, prefill included. Writes judged.jsonl."""
    from accord.evaluate.judged_policies import alarms_of, of_judges, verdicts_on

    config = job.config
    judges: list[dict[str, Any]] = []
    if config.judge is not None and len(texts) > 1:
        assert job.store is not None, "a recipe has a store"
        judge, asked = config.judge.annotator(config.judge.asker(job.store.root)), prompts[: config.judge.num_prompts]
        written = {
            name: [text[len(prompt.prefill) :] for prompt, text in zip(asked, own, strict=False)]
            for name, own in texts.items()
        }
        total = len(asked) * (len(texts) - 1)
        with job.work.progress(f"{job.name}: judging", total, "comparisons") as progress:
            rows = list(verdicts_on(judge, asked, written, config.against, job.work.advancer(progress)))
        if not rows:
            what = f"nothing of what {judge.name} answered to {total} comparisons could be read"
            raise UserError(what, where=f"{job.name}.judge", remedy="It may need another prompt, or more tokens.")
        path = job.work.out / "judged.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        judges += [
            {**one, "step": job.name, "num_unanswered": total - len(rows) // 2}
            for one in of_judges(path, config.against, job.seed)
        ]
    for source in job.inputs["judged"]:
        summary = json.loads(source.artifact.file("summary.json").read_text(encoding="utf-8"))
        told = {"step": source.name.partition(".")[0], "num_unanswered": summary["num_unanswered"]}
        told |= {"with_people": summary["with_people"]} if "with_people" in summary else {}
        judges += [{**one, **told} for one in of_judges(source.artifact.file(JUDGED), config.against, job.seed)]
    if judges:
        results["judges"] = judges
        for name, against in judges[0]["policies"].items():
            if name in results["policies"]:
                rate = against["win_rate"]
                ends = {f"judge_win_rate_{end}": rate[end] for end in ("low", "high")}
                results["policies"][name] |= {"judge_win_rate": rate["value"], **ends}
    return [alarm for judge in judges if judge["step"] == job.name for alarm in alarms_of(judge)]  # others raise theirs


def benchmarks(job: Job) -> list[dict[str, Any]]:
    """The policies on each file, the first policy being what the others are held against."""
    from accord.evaluate.benchmark_answers import answer_logprobs
    from accord.evaluate.benchmarks import benchmark_rows
    from accord.evaluate.multiple_choice import measured, read_truthfulqa, scores_of
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy

    config = job.config
    files = {name: read_truthfulqa(name) for name in config.benchmarks}
    found: dict[str, list[Any]] = {}
    total = len(job.inputs["policies"]) * sum(map(len, files.values()))
    with job.work.progress(f"{job.name}: benchmarks", total, "questions") as progress:
        for source in job.inputs["policies"]:
            policy = Policy.load(source.model, compute_dtype())
            found[source.name] = [
                replace(one, task=Path(name).stem)
                for name, questions in files.items()
                for one in measured(
                    questions,
                    scores_of(questions, answer_logprobs(policy, questions, job.work.advancer(progress))),
                )
            ]
    return benchmark_rows(found, seed=job.seed)


def benchmark_content(sources: Any) -> str:
    """A digest of what benchmarks' files hold; "" without one. Raises UserError for a file that is none."""
    from accord.evaluate.multiple_choice import read_truthfulqa

    if not sources or not isinstance(sources, list | tuple) or not all(isinstance(one, str) for one in sources):
        return ""
    rows = [[asdict(question) for question in read_truthfulqa(source)] for source in sources]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def judge_cautions(step: PlannedStep, against: str) -> Iterator[Caution]:
    """Of the keys judge and judged. against: the baseline. Raises Contradiction."""
    config: Any = step.config
    for link in step.parents["judged"]:
        _check_judged(against, link)
        yield from held_out.judge_cautions(step, "judged", held_out.who_judges(link.step))
    if config.judge is not None:
        yield from key_cautions(config.judge, "judge")
        yield from held_out.judge_cautions(step, "judge", (config.judge.endpoint, config.judge.model))
        if len(config.policies) == 1:
            yield Caution("judge", "there is one policy, and nothing to compare it with.", "Name two policies or more.")


def _check_judged(against: str, link: Link) -> None:
    if link.step.kind != "judge":
        what = f"{link.name!r} is no `judge` step, so nobody's verdicts are in it"
        raise Contradiction("judged", what, "Name a `judge` step; comparisons of others have no policies' names.")
    (comparisons,) = link.step.parents["comparisons"]
    wrote = [one.name for one in comparisons.step.parents.get("policies", ())]
    if comparisons.step.kind != "sample" or len(wrote) < 2:
        what = f"{link.step.name!r} judged {comparisons.name!r}, and two policies' names are wanted"
        raise Contradiction("judged", what, "Let it judge a `sample` step of two policies or more.")
    if against not in wrote:
        what = f"the baseline {against!r} wrote nothing of what {link.step.name!r} judged: {', '.join(wrote)} did"
        raise Contradiction("judged", what, "Name the same policies in both, or another `baseline`.")

"""A regression suite of attacks put to policies: which still get through, and what else is refused for it.

Of attacks the share that is complied with, and of safe prompts that look like some the share that is refused: always
both, as who refuses everything violates nothing. Each policy is held against the one before it and the first on the
same prompts, with McNemar's exact test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from accord.errors import UserError
from accord.steps import held_out
from accord.steps.asking import Endpoint, check_judge, judge_asker, key_cautions
from accord.steps.attacked import decider, harm, is_bad, outcomes_of, probabilities_safe, styles_of, write_answers
from accord.steps.base import (
    LATEST,
    Caution,
    Contradiction,
    Job,
    PlannedStep,
    PolicyRef,
    PromptsRef,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.reward_units import taken_for_probability
from accord.types import Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.evaluate.red_team import Case

CHUNK = 64  # responses of each process between two points where the step can be stopped and gone on with


class Config(StepConfig, Endpoint):
    """suite: one or several files of attacks and of safe prompts, as `accord eval safety` reads them; a prompt of which
    nothing is said is an attack. prompts: in their place, or beside them, prompts of the recipe's data: those with a
    risk_category are attacks, and all others safe prompts. policies: who is attacked, in the order in which they were
    made. num_prompts: the first so many attacks, and as many safe prompts (null: all). by: who decides what refuses:
    `phrases`; `classifier`, which learns from `labelled`; or `judge`, the model of an endpoint or the policy `judge`.
    style: who says how the responses that refuse do so: `phrases`, or `judge` beside them. scoring: with `harmbench` or
    `strongreject` the judge also says how much harm the responses to attacks do. labelled: files of responses with
    people's labels, on which the error of whoever decides is measured. judge: a policy that judges, in place of an
    endpoint. reward: a safety reward that decides in place of `by` which attacks got through. threshold: of its
    probability that a response is safe, below which it is a violation: sigmoid(raw score), or the number of a rule from
    0 to 1. temperature: 0 takes the most probable token always. max_response_tokens: a longer response is cut off."""

    suite: tuple[str, ...] = ()
    prompts: PromptsRef | list[PromptsRef] | None = None
    policies: tuple[PolicyRef, ...] = Field((LATEST,), min_length=1)
    num_prompts: int | None = Field(None, gt=0)
    by: Literal["phrases", "classifier", "judge"] = "phrases"
    style: Literal["phrases", "judge"] = "phrases"
    scoring: Literal["refusals", "harmbench", "strongreject"] = "refusals"
    labelled: tuple[str, ...] = ()
    judge: PolicyRef | None = None
    reward: RewardRef | None = None
    threshold: float = Field(0.5, gt=0, lt=1)
    temperature: float = Field(0.0, ge=0)
    max_response_tokens: int = Field(256, gt=0)
    fingerprint: str = ""

    @field_validator("suite", "labelled", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return _listed(value) if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What the files hold, and not what they are called, decides what comes out."""
        suite, labelled = (_listed(values.get(key)) for key in ("suite", "labelled"))
        if not all(isinstance(one, str) for one in (*suite, *labelled)):
            return values  # the type is what is wrong
        return {**values, "fingerprint": _fingerprint(suite, labelled, values.get("scoring", "refusals"))}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.policies)) < len(self.policies):
            raise ValueError(f"a policy is named twice in {list(self.policies)}")
        _agrees(self)
        return self


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _agrees(config: Config) -> None:
    """Raises Contradiction where nothing is asked, and for keys of the decision that do not go together."""
    if not config.suite and not config.prompts:
        what = "there is nothing to put to the policies"
        raise Contradiction("suite", what, "Name files of attacks and of safe prompts, or prompts with `prompts`.")
    check_judge(config, ("by", "style", "scoring"))
    if config.by == "classifier" and not config.labelled:
        what = "the classifier has no labelled responses to learn from"
        raise Contradiction("by", what, "Name files with the column final_label (or outcome) as `labelled`.")
    if "threshold" in config.model_fields_set and config.reward is None:
        what = "the threshold is that of a safety reward, and there is none"
        raise Contradiction("threshold", what, "Name it with `reward`, or leave out the threshold.")


def _fingerprint(suite: Sequence[str], labelled: Sequence[str], scoring: str) -> str:
    """Of what the files hold. Raises UserError for files without an attack, and labels that are none."""
    from accord.evaluate.completions import read_completions
    from accord.evaluate.red_team import read_suite

    people = read_completions(labelled)
    said = [[one.prompt, one.response, one.outcome, one.grade] for one in people]
    if labelled and all(one.outcome is None and (scoring == "refusals" or one.grade is None) for one in people):
        remedy = "Give them a column final_label (or outcome), as XSTest's completions have it."
        raise UserError("people have not said of any response what was done", where=labelled[0], remedy=remedy)
    cases = read_suite(suite) if suite else []
    texts = json.dumps([[asdict(case) for case in cases], said])
    return hashlib.sha256(texts.encode()).hexdigest()


def check(step: PlannedStep) -> Iterator[Caution]:
    """Whether both rates can be told, by whom, and whether the attacks are new to the policies."""
    from accord.evaluate.red_team import read_suite

    config = cast(Config, step.config)
    yield from key_cautions(config)
    if not config.prompts and all(case.unsafe for case in read_suite(config.suite)):
        what = "there is no safe prompt: a policy that refuses everything would be the best."
        yield Caution("suite", what, "Add a file of safe prompts that look like attacks, such as XSTest's.")
    if config.judge is not None and not config.labelled:
        what = "whether this policy can judge is not known; a small one is about chance."
        yield Caution("judge", what, "Set `labelled` to responses that people have labelled.")
    for link in step.parents["reward"]:
        yield from taken_for_probability(link.step, "reward")
    yield from held_out.red_team_cautions(step)


def run(job: Job) -> None:
    """Writes answers/POLICY.jsonl, every response with what was decided, in columns that `accord eval safety` reads;
    results.json; and summary.json."""
    from accord.engine.rollout import answerable
    from accord.evaluate.red_team import regressions, summary
    from accord.monitor.alarms import as_json
    from accord.rewards.loading import learned_folders

    config: Config = job.config
    checkpoint = job.work.resume()
    if _fingerprint(config.suite, config.labelled, config.scoring) != config.fingerprint:
        what = "the suite has changed since the plan was made"
        raise UserError(
            what, where=f"{job.name}.suite", remedy="Run the same command again: it plans with it as it is."
        )
    policies = job.inputs["policies"]
    cases = chosen(config, [part.read("prompts") for part in job.inputs["prompts"]], job.name)
    folders = [policy.model for policy in policies]
    folders += [path for one in job.inputs["reward"] for path in learned_folders(one.artifact)]
    prompts, left_out = answerable([case.prompt for case in cases], folders, config.max_response_tokens, job.name)
    kept = {prompt.id for prompt in prompts}
    cases = [case for case in cases if case.prompt.id in kept]
    written = _answered(job, cases, checkpoint.state["written"] if checkpoint else [])
    asks = "judge" in (config.by, config.style) or config.scoring != "refusals"
    asker = judge_asker(job) if asks else None
    detector, error = decider(job, asker)
    styles: dict[str, list[dict[str, Any]]] = {}
    bad: dict[str, list[bool | None]] = {}
    said: dict[str, list[str]] = {}
    with job.work.progress(f"{job.name}: deciding", len(written), "responses") as progress:
        for policy, at in zip(policies, range(0, len(written), len(cases)), strict=True):
            texts = [
                case.prompt.prefill + text for case, (text, _) in zip(cases, written[at : at + len(cases)], strict=True)
            ]
            said[policy.name] = texts
            outcomes = outcomes_of(job, detector, cases, texts, progress)
            safe = probabilities_safe(job, cases, written[at : at + len(cases)])
            bad[policy.name] = [is_bad(config.threshold, *one) for one in zip(cases, outcomes, safe, strict=True)]
            styles[policy.name] = styles_of(job, asker, cases, texts, outcomes)
            write_answers(job, policy.name, cases, texts, outcomes, safe, bad[policy.name])
    found = summary(cases, bad)
    for name, of_policy in found["policies"].items():
        of_policy["refusal_style"] = styles[name]
    results = {
        "suite": [*config.suite, *[part.name for part in job.inputs["prompts"]]],
        "by": detector.name,
        "reward": None if config.reward is None else {"name": job.input("reward").name, "threshold": config.threshold},
        "error": None if error is None else asdict(error),
        **found,
        "harm": None if asker is None else harm(job, asker, cases, said),
        "trained_on": _trained_on(job, cases),
    }
    job.write_json("results.json", results)
    rates = {
        name: {rate: one[rate]["value"] for rate in ("violation_rate", "false_refusal_rate") if one[rate]}
        for name, one in results["policies"].items()
    }
    counts = {"num_attacks": results["num_attacks"], "num_safe": results["num_safe"], **left_out}
    job.write_json("summary.json", {**counts, "policies": rates, "alarms": as_json(regressions(results))})


def chosen(config: Config, prompts: Sequence[Sequence[Prompt]], name: str) -> list[Case]:
    """The cases that are put to the policies: attacks, and safe prompts; of the files, then of each list of prompts.
    Raises UserError where none of these is an attack."""
    from accord.evaluate.red_team import read_suite, with_prompts

    cases = with_prompts(read_suite(config.suite) if config.suite else [], prompts)
    if not any(case.unsafe for case in cases):
        what = "no prompt has a risk_category, so none is an attack"
        raise UserError(what, where=f"{name}.prompts", remedy="Name prompts that have one, or files as `suite`.")
    attacks, safe = ([case for case in cases if case.unsafe is unsafe] for unsafe in (True, False))
    return [*attacks[: config.num_prompts], *safe[: config.num_prompts]]


def _answered(job: Job, cases: Sequence[Case], written: list[list[Any]]) -> list[list[Any]]:
    """[policies * cases] of [text, finished], in that order."""
    from accord.engine.group import current
    from accord.engine.rollout import roll_out
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy

    config: Config = job.config
    policies, size = job.inputs["policies"], CHUNK * current().size

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"written": written}

    total = len(policies) * len(cases)
    with job.work.progress(f"{job.name}: answering", total, "responses", start=len(written)) as progress:
        for number, policy in enumerate(policies):
            done = max(0, min(len(written) - number * len(cases), len(cases)))
            loaded = Policy.load(policy.model, compute_dtype()) if done < len(cases) else None
            for first in range(done, len(cases), size):
                assert loaded is not None
                some = cases[first : first + size]
                rollout = roll_out(
                    loaded,
                    [case.prompt for case in some],
                    num_samples=1,
                    max_response_tokens=config.max_response_tokens,
                    temperature=config.temperature,
                    key=(job.seed, policy.name),
                    advance=progress.advance,
                )
                written += [[one.text, one.finished] for (one,) in rollout.responses]
                job.work.checkpoint_or_stop(len(written), state)
    return written


def _trained_on(job: Job, cases: Sequence[Case]) -> dict[str, int]:
    """How many of the attacks each policy was trained on, where it was on any."""
    from accord.steps.trained_on import trained_on

    if job.store is None:
        return {}
    asks = {case.asks for case in cases if case.unsafe}
    found = {policy.name: len(trained_on(job.store, policy.artifact, asks)) for policy in job.inputs["policies"]}
    return {name: num for name, num in found.items() if num}


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.workload import Phase, Work, rollout_trees, sampling, scoring

    given = sizes.records("prompts", "prompts")
    cases = chosen(config, [], sizes.label) if config.suite else []
    every = [*(case.prompt for case in cases), *given.sample]
    sample, num = every[:: max(1, len(every) // CHUNK)], len(cases) + given.total
    if config.num_prompts is not None:
        num = min(num, 2 * config.num_prompts)
    found, cache, asked = [], 0, sizes.asked("reward")
    for at in range(len(config.policies)):
        expected = sizes.responses("policies", config.max_response_tokens, at)
        own, whole = rollout_trees(sizes.template, sample, 1, expected)
        sampled, places = sampling(own, sizes.dimensions, num / len(sample))
        cache = max(cache, places)
        found += [*sampled, *scoring(sizes.template, whole, num / len(sample) * len(asked))]
    phase = Phase(found, frozen=[sizes.policy, *asked], cache=cache)
    return Work([phase], loaded=[*[sizes.policy] * len(config.policies), *asked])


STEP = StepKind(produces="results", version=3, config=Config, run=run, work=work, check=check, together=True)

"""Policies against a baseline, by a held-out reward, a second evaluator and judges; the reward that was optimised; and
what they have unlearned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import Field, model_validator

from accord.engine.ending import Ending
from accord.steps import held_out
from accord.steps.alarmed import check_judge
from accord.steps.base import (
    Caution,
    ComparisonsRef,
    Contradiction,
    Job,
    PlannedStep,
    PolicyRef,
    PromptsRef,
    RatingsRef,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.ending import check_ending
from accord.steps.opinions import Judging, benchmark_content, benchmarks, judge_cautions, judged
from accord.store.artifacts import Artifact
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Passes, Work
    from accord.evaluate.policies import PolicyOutcome


class Config(StepConfig, Ending):
    """policies: who is evaluated. baseline: the one of them that win rates and the KL are against; null: the first.

    by: the reward that judges, one that no policy was trained against. judge: a language model that compares each
    policy's first response to a prompt with the baseline's, in both orders: `endpoint`, `model` and what else a `judge`
    step has of them, and `num_prompts`, the first so many (null: all). judged: `judge` steps, whose verdicts on what a
    `sample` step wrote are counted, too. benchmarks: files of TruthfulQA's form, on which the policies are held against
    the first of them. proxy: the one that was optimised, shown beside
    the judge. pairs: rated texts on which the proxy's accuracy is measured. proxy_data: what the proxy was trained on:
    a linear model of words fitted on the same is its floor on the pairs. second: comparisons on which the second
    evaluator, a linear model of words, is fitted; none of the proxy's, nor of the judge's. prompts: what is answered,
    at temperature 1. num_prompts: the first so many of them. num_samples: responses to each. max_response_tokens: a
    longer response is cut off. end_at, end_after: as the steps that learn on policy have them, for all policies alike.
    num_pairs: so many of the pairs. min_difference: of a pair's mean ratings. num_shown: prompts in the report's table
    of samples.
    """

    policies: tuple[PolicyRef, ...] = Field(min_length=1)
    baseline: PolicyRef | None = None
    by: RewardRef | None = None
    judge: Judging | None = None
    judged: tuple[ComparisonsRef, ...] = ()
    benchmarks: tuple[str, ...] = ()
    proxy: RewardRef | None = None
    proxy_data: ComparisonsRef | None = None
    second: tuple[ComparisonsRef, ...] = ()
    prompts: PromptsRef
    num_prompts: int = Field(256, gt=0)
    num_samples: int = Field(4, gt=1)
    max_response_tokens: int = Field(48, gt=0)
    pairs: RatingsRef | None = None
    num_pairs: int = Field(2000, gt=0)
    min_difference: float = Field(0.5, ge=0)
    num_shown: int = Field(12, ge=0)

    fingerprint: str = ""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What the benchmarks' files hold, and not what they are called, decides what comes out."""
        return {**values, "fingerprint": benchmark_content(values.get("benchmarks"))}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.baseline is not None and self.baseline not in self.policies:
            raise ValueError(f"the baseline {self.baseline!r} is not among the policies {list(self.policies)}")
        if len(set(self.policies)) < len(self.policies):
            raise ValueError(f"a policy is named twice in {list(self.policies)}")
        if self.by is None and self.judge is None and not self.judged:
            raise ValueError("nobody judges: name a held-out reward with `by`, or a language model with `judge`")
        if self.by is not None and self.by == self.proxy:
            raise ValueError(f"{self.by!r} cannot judge what was optimised for it: `by` differs from `proxy`")
        if self.proxy_data is not None and self.proxy_data in self.second:
            raise ValueError(f"the second evaluator may not learn from the proxy's {self.proxy_data!r}")
        return self

    @property
    def against(self) -> str:
        """The name of the baseline."""
        return self.policies[0] if self.baseline is None else self.baseline


def run(job: Job) -> None:
    """Writes results.json; samples.json; machine.json, the speed of a matrix product at the time; and summary.json: the
    prompts that were used, and those that were left out because the context of a policy or a reward model has no room
    for a response, or a text of theirs holds a control token."""
    from accord.engine.machine import gemm_gflops
    from accord.engine.rollout import answerable
    from accord.evaluate.policies import agreement_on_samples, compare, observe
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy
    from accord.monitor.alarms import as_json
    from accord.rewards.loading import artifact_reward, learned_folders

    config: Config = job.config
    dtype = compute_dtype()
    names = [source.name for source in job.inputs["policies"]]
    results: dict[str, Any] = {}
    job.work.lead(lambda: job.write_json("machine.json", {"gemm_gflops": gemm_gflops(dtype)}))
    rewards = {
        called: artifact_reward(source.artifact, dtype)
        for called, field in (("proxy", "proxy"), ("gold", "by"))
        for source in job.inputs[field]
    }
    second = ("second", _fit(job.inputs["second"])) if job.inputs["second"] else None
    by_folder = {source.name: source.model for source in job.inputs["policies"]}
    wanted = job.input("prompts").read("prompts")[: config.num_prompts]
    folders = [*by_folder.values()]
    folders += [path for name in ("by", "proxy") for one in job.inputs[name] for path in learned_folders(one.artifact)]
    prompts, left_out = answerable(wanted, folders, config.max_response_tokens, job.name)
    if "proxy" in rewards:
        results["reward_model"] = {"name": job.input("proxy").name, **_accuracy(job, rewards["proxy"], prompts[0])}
    reference = Policy.load(by_folder[config.against], dtype)
    outcomes: dict[str, PolicyOutcome] = {}
    total = len(names) * len(prompts) * config.num_samples
    with job.work.progress(f"{job.name}: policies", total, "responses") as progress:
        for name, folder in by_folder.items():
            outcomes[name] = observe(
                reference if name == config.against else Policy.load(folder, dtype),
                reference,
                prompts,
                rewards,
                second,
                num_samples=config.num_samples,
                max_response_tokens=config.max_response_tokens,
                ending=config,
                key=(job.seed, "samples", name),
                advance=job.work.advancer(progress),
            )
    baseline = outcomes[config.against]
    called: dict[str, str] = {name: name for name in ("gold", "proxy", "second") if name in baseline.scores}
    results["policies"] = {name: compare(outcome, baseline, called, job.seed) for name, outcome in outcomes.items()}
    if {"proxy", "gold"} <= rewards.keys():
        agreement = agreement_on_samples(baseline.scores["proxy"], baseline.scores["gold"])
        results["reward_model"]["agreement_on_samples"] = agreement
    if config.by is not None:
        results["by"] = config.by
    raised = judged(job, prompts, {name: [of[0] for of in one.texts] for name, one in outcomes.items()}, results)
    if config.benchmarks:
        results["benchmarks"] = benchmarks(job)
    results |= {
        "baseline": config.against,
        "num_prompts": len(prompts),
        "samples_per_prompt": config.num_samples,
    }
    job.write_json("results.json", results)
    job.write_json("summary.json", {"num_prompts": len(prompts), **left_out, "alarms": as_json(raised)})
    job.write_json("samples.json", _shown(prompts[: config.num_shown], outcomes))


def _accuracy(job: Job, proxy: Any, prompt: Any) -> dict[str, Any]:
    """How well the proxy orders the pairs; nothing when there are none."""
    from accord.evaluate.reward_model import GROUP_SIZE, accuracy_on_pairs

    config: Config = job.config
    if config.pairs is None:
        return {}
    items = job.input("pairs").read("ratings")
    with job.work.progress(f"{job.name}: reward model", -(-len(items) // GROUP_SIZE), "groups") as progress:
        return accuracy_on_pairs(
            proxy,
            _plain(prompt),
            items,
            _fit(job.inputs["proxy_data"]) if config.proxy_data is not None else None,
            min_difference=config.min_difference,
            num_pairs=config.num_pairs,
            seed=job.seed,
            advance=job.work.advancer(progress),
        )


def _shown(prompts: Sequence[Prompt], outcomes: Mapping[str, PolicyOutcome]) -> list[dict[str, Any]]:
    """The first response of every policy to some prompts, with its scores by the rewards."""
    rewards = [name for name in ("gold", "proxy") if all(name in outcome.scores for outcome in outcomes.values())]
    return [
        {
            "prefill": prompt.prefill,
            "prompt": prompt.messages[-1].content,
            "responses": {name: outcome.texts[i][0][len(prompt.prefill) :] for name, outcome in outcomes.items()},
            **{by: {name: float(one.scores[by][i, 0]) for name, one in outcomes.items()} for by in rewards},
        }
        for i, prompt in enumerate(prompts)
    ]


def _plain(prompt: Any) -> Any:
    """The prompt without its prefill: what rated texts are whole responses to."""
    return replace(prompt, prefill="")


def _fit(sources: Any) -> Any:
    """A linear model of words on the mean grades of comparisons' responses."""
    from accord.evaluate.text_baseline import TextRidge

    texts: list[str] = []
    means: list[float] = []
    for source in sources:
        for comparison, judgements in source.read("comparisons"):
            for k, response in enumerate(comparison.responses):
                grades = [g for judgement in judgements if (g := judgement.grades[k]) is not None]
                if grades:
                    texts.append(response.text)
                    means.append(sum(grades) / len(grades))
    return TextRidge().fit(texts, means)


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.workload import Phase, Work, passes, rollout_trees, sampling, scoring
    from accord.evaluate.reward_model import GROUP_SIZE
    from accord.text.batching import micro_batches
    from accord.types import Response

    template = sizes.template
    prompts = sizes.records("prompts", "prompts").first(config.num_prompts)
    proxy, asked = len(sizes.asked("proxy")), sizes.asked("proxy", "by")
    found: list[Passes] = []
    if config.pairs is not None:
        pairs = sizes.records("pairs", "ratings")
        texts = [Response(item.text) for item in pairs.sample]
        groups = [
            template.tree(_plain(prompts.sample[0]), texts[at : at + GROUP_SIZE])
            for at in range(0, len(texts), GROUP_SIZE)
        ]
        found += scoring(template, groups, pairs.scale * proxy)
        found += scoring(template, groups, min(600 / pairs.total, 1.0) * pairs.scale * proxy)
    cache = 0
    for at, name in enumerate(config.policies):
        expected = sizes.responses("policies", config.max_response_tokens, at)
        own, whole = rollout_trees(template, prompts.sample, config.num_samples, expected)
        sampled, places = sampling(own, sizes.dimensions, prompts.scale)
        cache = max(cache, places)
        found += [*sampled, *scoring(template, whole, prompts.scale * len(asked))]
        if name != config.against:
            batches = (micro.batch for micro in micro_batches(own, 1024))
            found += passes("forward", batches, prompts.scale)
    others = len(config.policies) > 1
    held = [*asked, *[sizes.policy] * (1 + others)]
    fits = [
        sum(part.total * len(part.sample[0][0].responses) for part in sizes.parts(field) if part.sample)
        for field in ("second", "proxy_data")
    ]
    loaded = [*asked, *[sizes.policy] * len(config.policies)]
    return Work([Phase(found, frozen=held, cache=cache)], loaded, fits=fits)


def check(step: PlannedStep) -> Iterator[Caution]:
    """What belongs together, and whether what judges was held out."""
    config = cast(Config, step.config)
    check_ending(step)
    check_judge(step, "by")
    if config.pairs is not None and config.proxy is None:
        what = "the proxy's accuracy is measured on `pairs`, and there is no proxy"
        raise Contradiction("pairs", what, "Name it with `proxy`, or leave `pairs` out.")
    if config.proxy_data is not None and config.pairs is None:
        what = "`proxy_data` gives the floor of the proxy's accuracy on `pairs`, and there are none"
        raise Contradiction("proxy_data", what, "Give `pairs`, too, or leave `proxy_data` out.")
    yield from judge_cautions(step, config.against)
    yield from held_out.cautions(step)


def settled(artifact: Artifact) -> str | None:
    """Why a repeated block may end: the first policy beside the baseline does not clearly win against it."""
    results = json.loads(artifact.file("results.json").read_text(encoding="utf-8"))
    others = [(name, row) for name, row in results["policies"].items() if name != results["baseline"]]
    if not others:
        return None
    name, row = others[0]
    by = "gold" if "gold_win_rate" in row else "judge"
    rate, low, high = (row.get(f"{by}_win_rate{end}") for end in ("", "_low", "_high"))
    if low is None or low > 0.5:  # a judge may have said nothing that can be read
        return None
    whom = f"{name!r} wins {rate:.1%} ({low:.1%} to {high:.1%}) against {results['baseline']!r}"
    return f"{whom}, not clearly above one half"


STEP = StepKind("results", 6, Config, run, work=work, check=check, settled=settled, together=True)

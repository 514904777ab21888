"""Policies against a baseline, by a held-out reward model and a second evaluator; and the optimised reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from accord.steps.base import ComparisonsRef, Job, PolicyRef, PromptsRef, RatingsRef, RewardRef, StepConfig, StepKind

if TYPE_CHECKING:
    from accord.engine.workload import Sizes, Work


class Config(StepConfig):
    """policies: who is evaluated. baseline: the one of them that win rates and the KL are against.

    by: the reward model that judges, one that nothing was trained on. proxy: the one that was optimised. proxy_data:
    what it was trained on: a linear model of words fitted on the same is its floor. second: comparisons on which the
    second evaluator, a linear model of words, is fitted; none of the proxy's. prompts: what is answered, at
    temperature 1. num_prompts: the first so many of them. num_samples: responses to each. max_response_tokens: a
    longer response is cut off. pairs: rated texts on which the proxy's accuracy is measured. num_pairs: so many pairs
    of them. min_difference: of a pair's mean ratings. num_shown: prompts in the report's table of samples.
    """

    policies: tuple[PolicyRef, ...] = Field(min_length=1)
    baseline: str
    by: RewardRef
    proxy: RewardRef
    proxy_data: ComparisonsRef
    second: tuple[ComparisonsRef, ...] = Field(min_length=1)
    prompts: PromptsRef
    num_prompts: int = Field(256, gt=0)
    num_samples: int = Field(4, gt=1)
    max_response_tokens: int = Field(48, gt=0)
    pairs: RatingsRef
    num_pairs: int = Field(2000, gt=0)
    min_difference: float = Field(0.5, ge=0)
    num_shown: int = Field(12, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.baseline not in self.policies:
            raise ValueError(f"the baseline {self.baseline!r} is not among the policies {list(self.policies)}")
        if len(set(self.policies)) < len(self.policies):
            raise ValueError(f"a policy is named twice in {list(self.policies)}")
        if self.by == self.proxy:
            raise ValueError(f"{self.by!r} cannot judge what was optimised for it: `by` differs from `proxy`")
        if self.proxy_data in self.second:
            raise ValueError(f"the second evaluator may not learn from the proxy's {self.proxy_data!r}")
        return self


def run(job: Job) -> None:
    """Writes results.json; samples.json; machine.json, the speed of a matrix product at the time; and summary.json: the
    prompts that were used, and those that were left out because a policy's context has no room for a response, or a
    text of theirs holds a control token."""
    from accord.engine.machine import gemm_gflops
    from accord.engine.rollout import answerable
    from accord.evaluate.policies import PolicyOutcome, agreement_on_samples, compare, observe
    from accord.evaluate.reward_model import GROUP_SIZE, accuracy_on_pairs
    from accord.models.folders import compute_dtype
    from accord.models.policy import Policy
    from accord.rewards.loading import artifact_reward

    config: Config = job.config
    dtype = compute_dtype()
    names = [source.name for source in job.inputs["policies"]]
    results: dict[str, Any] = {}
    job.write_json("machine.json", {"gemm_gflops": gemm_gflops(dtype)})
    proxy = artifact_reward(job.input("proxy").artifact, dtype)
    gold = artifact_reward(job.input("by").artifact, dtype)
    second = _fit(job.inputs["second"])
    by_folder = {source.name: source.model for source in job.inputs["policies"]}
    wanted = job.input("prompts").read("prompts")[: config.num_prompts]
    prompts, left_out = answerable(wanted, by_folder.values(), config.max_response_tokens, job.name)
    items = job.input("pairs").read("ratings")
    with job.work.progress(f"{job.name}: reward model", -(-len(items) // GROUP_SIZE), "groups") as progress:
        results["reward_model"] = {
            "name": job.input("proxy").name,
            **accuracy_on_pairs(
                proxy,
                _plain(prompts[0]),
                items,
                _fit(job.inputs["proxy_data"]),
                min_difference=config.min_difference,
                num_pairs=config.num_pairs,
                seed=job.seed,
                advance=job.work.advancer(progress),
            ),
        }
    reference = Policy.load(by_folder[config.baseline], dtype)
    outcomes: dict[str, PolicyOutcome] = {}
    total = len(names) * len(prompts) * config.num_samples
    with job.work.progress(f"{job.name}: policies", total, "responses") as progress:
        for name, folder in by_folder.items():
            outcomes[name] = observe(
                reference if name == config.baseline else Policy.load(folder, dtype),
                reference,
                prompts,
                {"gold": gold, "proxy": proxy},
                ("second", second),
                num_samples=config.num_samples,
                max_response_tokens=config.max_response_tokens,
                key=(job.seed, "samples", name),
                advance=job.work.advancer(progress),
            )
    called = {"gold": "gold", "proxy": "proxy", "second": "second"}
    baseline = outcomes[config.baseline]
    results["policies"] = {name: compare(outcome, baseline, called, job.seed) for name, outcome in outcomes.items()}
    results["reward_model"]["agreement_on_samples"] = agreement_on_samples(
        baseline.scores["proxy"], baseline.scores["gold"]
    )
    results |= {
        "baseline": config.baseline,
        "by": job.input("by").name,
        "num_prompts": len(prompts),
        "samples_per_prompt": config.num_samples,
    }
    shown = [
        {
            "prefill": prompt.prefill,
            "prompt": prompt.messages[-1].content,
            "responses": {name: outcome.texts[i][0][len(prompt.prefill) :] for name, outcome in outcomes.items()},
            "gold": {name: float(outcome.scores["gold"][i, 0]) for name, outcome in outcomes.items()},
            "proxy": {name: float(outcome.scores["proxy"][i, 0]) for name, outcome in outcomes.items()},
        }
        for i, prompt in enumerate(prompts[: config.num_shown])
    ]
    job.write_json("results.json", results)
    job.write_json("summary.json", {"num_prompts": len(prompts), **left_out})
    job.write_json("samples.json", shown)


def _plain(prompt: Any) -> Any:
    """The prompt without its prefill: what rated texts are whole responses to."""
    from dataclasses import replace

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
    proxy, judge = sizes.num_learned("proxy"), sizes.num_learned("by")
    pairs = sizes.records("pairs", "ratings")
    texts = [Response(item.text) for item in pairs.sample]
    groups = [
        template.tree(_plain(prompts.sample[0]), texts[at : at + GROUP_SIZE]) for at in range(0, len(texts), GROUP_SIZE)
    ]
    found = scoring(template, groups, pairs.scale * proxy)
    found += scoring(template, groups, min(600 / pairs.total, 1.0) * pairs.scale * proxy)
    slots = length = 0
    for at, name in enumerate(config.policies):
        expected = sizes.responses("policies", config.max_response_tokens, at)
        own, whole = rollout_trees(template, prompts.sample, config.num_samples, expected)
        sampled, slots, longest = sampling(own, prompts.scale)
        length = max(length, longest)
        found += [*sampled, *scoring(template, whole, prompts.scale * (proxy + judge))]
        if name != config.baseline:
            batches = (micro.batch for micro in micro_batches(own, template.pad_id, 1024))
            found += passes("forward", batches, prompts.scale)
    others = len(config.policies) > 1
    held = [*[sizes.scalar] * (proxy + judge), *[sizes.policy] * (1 + others)]
    fits = [
        sum(part.total * len(part.sample[0][0].responses) for part in sizes.parts(field) if part.sample)
        for field in ("second", "proxy_data")
    ]
    loaded = [*[sizes.scalar] * (proxy + judge), *[sizes.policy] * len(config.policies)]
    return Work([Phase(found, frozen=held, slots=slots, length=length)], loaded, fits=fits)


STEP = StepKind(produces="results", version=3, config=Config, run=run, work=work)

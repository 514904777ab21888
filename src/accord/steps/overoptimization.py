"""How far a proxy can be trusted: proxy and gold score over the distance from the start policy (Gao et al. 2022).

    - sample: {name: many, policies: [sft], prompts: reviews.test_prompts, num_prompts: 64, num_responses: 256}
    - ppo: {reward: proxy_1, kl_coef: 0, watch: [gold], ...}
    - overoptimization: {gold: gold, samples: many, proxies: [proxy_1, proxy_2, ensemble], policies: [ppo]}

The best of n is worked out from the samples, for every n at once and for any number of proxies, without training.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import field_validator

from accord.errors import UserError
from accord.seeds import derive_seed
from accord.steps.base import (
    ComparisonsRef,
    Job,
    PolicyRef,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.overoptimization_checks import check
from accord.store.artifacts import Artifact
from accord.store.workspace import METRICS, MetricsLog

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.types import Comparison

_BEFORE = "first sample"
_SHOWN = 16  # prompts


class Config(StepConfig):
    """gold: the reward that stands for what is really wanted; nothing may have been trained against it. samples: the
    start policy's responses, from a `sample` step, many to each prompt. proxies: rewards, each as what chooses the best
    of n; those whose names differ only in a number at the end are seeds of one, and share a curve and a band (so the
    rounds of a block do not belong into one step). compare: pairs of such curves, by their names without the number: of
    which is more gold score left at the largest n? policies: steps that were trained against a reward while `gold`
    watched."""

    gold: RewardRef
    samples: ComparisonsRef
    proxies: tuple[RewardRef, ...] = ()
    compare: tuple[tuple[str, str], ...] = ()
    policies: tuple[PolicyRef, ...] = ()

    @field_validator("compare", mode="before")
    @classmethod
    def _pairs(cls, compare: object) -> object:
        if isinstance(compare, list | tuple) and any(isinstance(one, str) for one in compare):
            raise ValueError(f"it takes a list of pairs: [[{', '.join(map(str, compare))}]]")
        return compare


def run(job: Job) -> None:
    """Writes results.json, as `accord.evaluate.overoptimization` has it under `best_of_n` and `training`, there with
    `proxy_in_deviations`: whether the proxy is in the unit of the samples; samples.json, what is chosen for the first
    prompts; and summary.json."""
    from accord.evaluate.overoptimization import best_of_n_curves, choices, training_curves

    comparisons = [comparison for comparison, _ in job.input("samples").read("comparisons")]
    scored = _scored(job, comparisons)
    config: Config = job.config
    gold, proxies = job.input("gold").name, [one.name for one in job.inputs["proxies"]]
    units = {name: _unit(job, name, scores) for name, scores in scored.items()}
    results: dict[str, Any] = {"gold": gold, "chosen_beside": _BEFORE}
    seed = derive_seed(job.seed, "intervals")
    if proxies:
        of_proxies = {name: units[name] for name in proxies}
        results["best_of_n"] = best_of_n_curves(units[gold], of_proxies, seed=seed, compare=config.compare)
    if job.inputs["policies"]:
        trained = {one.name: one.artifact for one in job.inputs["policies"]}
        trainings = {name: _points(job, policy, units) for name, policy in trained.items()}
        results["training"] = {
            family: one | {"proxy_in_deviations": all(_proxy_of(job, trained[name]) for name in one["names"])}
            for family, one in training_curves(trainings, seed=seed).items()
        }
    job.write_json("results.json", results)
    texts = [
        (one.prompt.messages[-1].content, one.prompt.prefill, [response.text for response in one.responses])
        for one in comparisons[:_SHOWN]
    ]
    shown = choices((gold, units[gold]), {name: units[name] for name in proxies}, texts, _BEFORE)
    job.write_json("samples.json", shown)
    num_prompts, num_responses = units[gold].scores_pk.shape
    turned = [
        family
        for curves in (results.get("best_of_n", {}).get("proxies", {}), results.get("training", {}))
        for family, one in curves.items()
        if one.get("fit", {}).get("inside")
    ]
    job.write_json(
        "summary.json", {"num_prompts": num_prompts, "num_responses": num_prompts * num_responses, "turned": turned}
    )


def _scored(job: Job, comparisons: Sequence[Comparison]) -> dict[str, list[list[float]]]:
    """Reward by reward, [p][k], one in memory at a time. What each says is kept in the store as soon as it is known, so
    that a stop loses no more than one. What is combined of others is combined from their scores."""
    from accord.models.compute import compute_dtype
    from accord.rewards.kept import KeptScores
    from accord.rewards.loading import artifact_reward
    from accord.rewards.stored import Scored

    if len({len(one.responses) for one in comparisons}) > 1:
        what = "the prompts have different numbers of responses"
        raise UserError(what, where=f"{job.name}.samples", remedy="Name what a `sample` step wrote.")
    prompts, responses = [one.prompt for one in comparisons], [one.responses for one in comparisons]
    kept = KeptScores(job.store, job.input("samples").artifact, compute_dtype())
    rewards = [job.input("gold"), *job.inputs["proxies"]]
    found = {one.artifact.key: kept.find(one.artifact) for one in rewards}
    scored = {key: was for key, was in found.items() if was}
    if scored:
        print(f"{job.name}: the scores by {len(scored)} of {len(rewards)} rewards were in the store", file=sys.stderr)
    label, total, start = f"{job.name}: scoring", len(prompts) * len(rewards), len(prompts) * len(scored)
    with job.work.progress(label, total, "prompts", start=start) as progress:
        for artifact in (one.artifact for one in rewards if one.artifact.key not in scored):
            began = time.monotonic()
            reward = artifact_reward(artifact, compute_dtype(), scored)
            scores = reward.score(prompts, responses, job.work.advancer(progress))
            scored[artifact.key] = Scored(scores, reward.normalisation)
            kept.keep(artifact, scored[artifact.key], job.name, time.monotonic() - began)
    return {one.name: scored[one.artifact.key].scores.reshape(len(prompts), -1).tolist() for one in rewards}


def _unit(job: Job, name: str, scores: Sequence[Sequence[float]]) -> Any:
    from accord.evaluate.overoptimization import Unit

    if not np.isfinite(scores).all():
        what = f"{name!r} gives some of the samples no score"
        raise UserError(what, where=job.name, remedy="Name a reward that scores every response.")
    try:
        return Unit(scores)
    except ValueError as error:
        what = f"{error}, by {name!r}"
        raise UserError(what, where=job.name, remedy="Take more samples, or another reward.") from error


def _points(job: Job, policy: Artifact, units: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """KL, proxy and gold of each time that gold watched the training, at the start first; but where it broke. Both are
    in the unit of the samples; a reward that is not among the proxies stays in its own."""
    gold = job.input("gold")
    parents = policy.manifest["parents"]
    called = dict(zip((one["key"] for one in parents["watch"]), policy.manifest["config"]["watch"], strict=True))
    proxy = _proxy_of(job, policy)
    unit = None if proxy is None else units[proxy]
    wanted = ("objective/kl", "objective/scores", f"watch/{called[gold.artifact.key]}")
    rows = [row for row in MetricsLog(policy.path / METRICS).read() if row.keys() >= {*wanted}]
    seen = [[row[key] for key in wanted] for row in rows if all(math.isfinite(row[key]) for key in wanted)]
    if not seen:
        what = f"{gold.name!r} never looked at the training of {policy.path.name}"
        raise UserError(what, where=f"{job.name}.policies", remedy="Train it longer, or lower its watch_every.")
    return [
        (kl, float(score if unit is None else unit.of(score)), float(units[gold.name].of(worth)))
        for kl, score, worth in seen
    ]


def _proxy_of(job: Job, policy: Artifact) -> str | None:
    """Which of the proxies it was trained on."""
    trained_on = {one["key"] for one in policy.manifest["parents"]["reward"]}
    return next((one.name for one in job.inputs["proxies"] if one.artifact.key in trained_on), None)


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.workload import Phase, Work, scoring

    comparisons = sizes.records("samples", "comparisons")
    trees = [sizes.template.tree(one.prompt, one.responses) for one, _ in comparisons.sample]
    rewards = [*sizes.inputs["gold"], *sizes.inputs["proxies"]]
    keys = {one.key for one in rewards}
    new = [one for one in rewards if not (one.combines and keys.issuperset(one.combines))]
    asks = [num for one in new for num in one.asks]
    phase = Phase(scoring(sizes.template, trees, comparisons.scale * sizes.passes(asks)), frozen=[max(asks, default=0)])
    return Work([phase], loaded=asks)


STEP = StepKind(produces="results", version=3, config=Config, run=run, work=work, check=check, together=True)

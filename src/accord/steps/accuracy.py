"""Several reward models on several sets of comparisons, as Llama 2 reports its two: accuracy by how clear the
preference is, each beside what knowing nothing reaches, and how well unsafe responses are found.

    - accuracy: {rewards: [helpful, safety], data: [helpful-data.validation, safety-data.validation]}
    - accuracy: {name: drift, rewards: helpful@all, data: fresh.validation}

The first is table 8 of Llama 2, every model on what it was trained for and on the other's. The second has the models
of all rounds on the newest comparisons: how far an old model still tells apart what a new policy writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from accord.data.mixtures import HELD_OUT
from accord.data.splits import REST as TRAIN
from accord.engine.ranking.config import MarginThresholds
from accord.errors import UserError
from accord.seeds import derive_seed
from accord.steps import held_out
from accord.steps.base import (
    Caution,
    ComparisonsRef,
    Contradiction,
    Input,
    Job,
    PlannedStep,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.reward_units import says_safety
from accord.store.artifacts import Artifact, Store

if TYPE_CHECKING:
    from torch import Tensor

    from accord.data.records import JudgedComparison
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.rewards.stored import StoredReward

_Part = tuple[str, str | None]  # the key of what makes data, and the part
_Scored = dict[str, list[Any]]  # "places": of the comparisons that a reward can read, "scores": of their responses


class Config(StepConfig):
    """rewards: what is measured. data: comparisons, each part by itself; those that one of the rewards cannot read are
    left out for all, and counted. floor_data: comparisons, of each part of which a linear model of words is fitted, to
    be a floor beside the longest and the shortest response. margin_thresholds: the differences of mean grades at which
    the four levels begin. unsafe_below: the probabilities of being safe below which a response is called unsafe; of
    reward models with a safety_coef, whose raw score says it, on comparisons with safety labels."""

    rewards: RewardRef | list[RewardRef]
    data: ComparisonsRef | list[ComparisonsRef]
    floor_data: ComparisonsRef | list[ComparisonsRef] | None = None
    margin_thresholds: MarginThresholds = (0.5, 1.25, 2.5, 3.75)
    unsafe_below: tuple[float, ...] = (0.15, 0.5)

    @field_validator("unsafe_below")
    @classmethod
    def _probabilities(cls, thresholds: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < threshold < 1 for threshold in thresholds):
            raise ValueError("these are probabilities, between 0 and 1")
        return thresholds


def run(job: Job) -> None:
    """Writes results.json, as `accord.evaluate.reward_table` has it; and summary.json."""
    from accord.evaluate.reward_table import compared, reward_table

    config: Config = job.config
    judged = {source.name: source.read("comparisons") for source in job.inputs["data"]}
    scored = _scored(job, judged)
    common = {name: _common(job, name, len(of), scored) for name, of in judged.items()}
    sets = {}
    for name, places in common.items():
        sets[name] = compared([judged[name][i] for i in places], config.margin_thresholds)
        if not len(sets[name].pairs):
            what = f"no comparison of {name} has an ordered pair"
            raise UserError(what, where=f"{job.name}.data", remedy="Name a part with preferences of people or a judge.")
    table = reward_table(
        sets,
        {reward: {name: _at(of[name], common[name]) for name in sets} for reward, of in scored.items()},
        {source.name: _fit(job, source) for source in job.inputs["floor_data"]},
        homes={reward.name: _homes(reward.artifact, job) for reward in job.inputs["rewards"]},
        calibrated=[reward.name for reward in job.inputs["rewards"] if _is_calibrated(reward.artifact)],
        unsafe_below=config.unsafe_below,
        seed=derive_seed(job.seed, "intervals"),
    )
    for reward in job.inputs["rewards"]:
        for one in job.inputs["data"]:
            table["rewards"][reward.name][one.name]["seen"] = _seen(reward.artifact, one, job)
    for name, places in common.items():
        table["sets"][name]["num_left_out"] = len(judged[name]) - len(places)
    job.write_json("results.json", table)
    summary = {
        "num_comparisons": sum(map(len, common.values())),
        "num_left_out": sum(one["num_left_out"] for one in table["sets"].values()),
        "accuracy": {
            reward: {name: cell["accuracy"] for name, cell in cells.items()}
            for reward, cells in table["rewards"].items()
        },
    }
    job.write_json("summary.json", summary)


def _scored(job: Job, judged: dict[str, list[JudgedComparison]]) -> dict[str, dict[str, _Scored]]:
    """Reward by reward, one in memory at a time, from where it was before a stop."""
    from accord.models.compute import compute_dtype
    from accord.rewards.loading import artifact_reward

    checkpoint = job.work.resume()
    scored: dict[str, dict[str, _Scored]] = checkpoint.state["scored"] if checkpoint else {}

    def state() -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"scored": scored}

    num = sum(map(len, judged.values()))
    total = num * len(job.inputs["rewards"])
    with job.work.progress(f"{job.name}: scoring", total, "comparisons", start=num * len(scored)) as progress:
        for source in job.inputs["rewards"]:
            if source.name not in scored:
                reward = artifact_reward(source.artifact, compute_dtype())
                advance = job.work.advancer(progress)
                scored[source.name] = {name: _score(reward, of, advance) for name, of in judged.items()}
                job.work.checkpoint_or_stop(len(scored), state)
    return scored


def _score(reward: StoredReward, judged: Sequence[JudgedComparison], advance: Callable[[int], None]) -> _Scored:
    from accord.evaluate.scoring import readable, score_all

    prompts = [comparison.prompt for comparison, _ in judged]
    responses = [comparison.responses for comparison, _ in judged]
    places, _ = readable(reward, prompts, responses)
    advance(len(judged) - len(places))
    if not places:
        return {"places": [], "scores": []}
    scores = score_all(reward, [prompts[i] for i in places], [responses[i] for i in places], advance)
    return {"places": places, "scores": [one.tolist() for one in scores.scores]}


def _common(job: Job, name: str, num: int, scored: dict[str, dict[str, _Scored]]) -> list[int]:
    """The comparisons that every reward can read. Raises UserError when there are none."""
    places = set(range(num)).intersection(*(of[name]["places"] for of in scored.values()))
    if not places:
        what = f"none of the {num} comparisons of {name} can be read by all of the rewards"
        remedy = "They hold control tokens, or are longer than a model's context: take others."
        raise UserError(what, where=f"{job.name}.data", remedy=remedy)
    return sorted(places)


def _at(scored: _Scored, places: Sequence[int]) -> list[Any]:
    import numpy as np

    by_place = dict(zip(scored["places"], scored["scores"], strict=True))
    return [np.array(by_place[i], dtype=np.float64) for i in places]


def _fit(job: Job, source: Input) -> Any:
    from accord.evaluate.reward_table import words_of
    from accord.evaluate.text_baseline import TextRidge

    try:
        return TextRidge().fit(*words_of(source.read("comparisons")))
    except UserError as error:
        raise UserError(error.what, where=f"{job.name}.floor_data", remedy=error.remedy) from error


# Where the rewards and the comparisons come from, as the manifests in the store have it.

_MADE_OF = {"reward": ("data",), "combine": ("rewards",), "mix": ("main", "others")}


def _parents(artifact: Artifact, field: str, store: Store | None) -> Iterator[tuple[Artifact, str | None]]:
    assert store is not None, "a recipe has a store"
    for parent in artifact.manifest["parents"].get(field, ()):
        found = store.find(parent["kind"], parent["key"])
        if found is not None:
            yield found, parent["part"]


def _homes(reward: Artifact, job: Job) -> list[str]:
    """The sets of what a reward was trained for: of the same part of a data set, whether a mixture or `splits` took
    them from it; where there is none, of another part of the same data set."""
    own = _main(reward, None, job.store)
    sets = {one.name: _main(one.artifact, one.part, job.store) for one in job.inputs["data"]}
    exact = [name for name, of in sets.items() if of & own]
    return exact or [name for name, of in sets.items() if {key for key, _ in of} & {key for key, _ in own}]


def _main(artifact: Artifact, part: str | None, store: Store | None) -> set[_Part]:
    """The data that a reward was trained for, or that a mixture is mainly of."""
    field = _MADE_OF.get(artifact.kind, ("",))[0]
    found = {one for parent, of in _parents(artifact, field, store) for one in _main(parent, of, store)}
    return found or {(artifact.key, TRAIN if part in artifact.manifest["config"].get("splits", ()) else part)}


def _seen(reward: Artifact, source: Input, job: Job) -> str | None:
    """What a reward had to do with comparisons before: it was trained on them, or they chose its weights."""
    wanted = (source.artifact.key, source.part)
    if wanted in _learned(reward, job.store):
        return "trained on it"
    chose = "evaluation.json" in reward.manifest["files"] and json.loads(
        reward.file("evaluation.json").read_text(encoding="utf-8")
    ).get("chose_the_weights")
    validated = {(parent.key, part) for parent, part in _parents(reward, "validation", job.store)}
    return "it chose the weights" if chose and wanted in validated else None


def _learned(artifact: Artifact, store: Store | None) -> set[_Part]:
    found: set[_Part] = set()
    for field in _MADE_OF.get(artifact.kind, ()):
        for parent, part in _parents(artifact, field, store):
            found |= {(parent.key, part)}
            if parent.kind != "mix" or part != HELD_OUT:
                found |= _learned(parent, store)
    return found


def _is_calibrated(artifact: Artifact) -> bool:
    """Whether it is one model whose raw score was trained to be the logit of being safe."""
    config = artifact.manifest["config"]
    return says_safety(artifact.kind, config)


def check(step: PlannedStep) -> Iterator[Caution]:
    """Names that stand twice, and sets that say nothing of anybody."""
    for field in ("rewards", "data", "floor_data"):
        links = step.parents[field]
        if getattr(step.config, field) == []:
            raise Contradiction(field, "an empty list names nothing to measure", "Name at least one, or leave it out.")
        keys = [(link.step.key, link.part) for link in links]
        twice = next((link.name for at, link in enumerate(links) if keys[at] in keys[:at]), None)
        if twice is not None:
            raise Contradiction(field, f"{twice} is named twice", "Leave one of them out.")
    learned = {link.name: held_out.learned_from(link) for link in step.parents["rewards"]}
    floors = {link.name: held_out.learned_from(link) for link in step.parents["floor_data"]}
    for link in step.parents["data"]:
        own = (link.step.key, link.part)
        if link.step.kind == "sample":
            what = f"nobody has judged the responses of {link.step.name!r}, so no order of theirs is right"
            remedy = f"Put a step below it, `- collect: {{comparisons: {link.step.name}, ...}}`, and name that here."
            raise Contradiction("data", what, remedy)
        if (name := next((name for name, behind in floors.items() if own in behind), None)) is not None:
            what = f"the model of words would learn from {name}, in which {link.name} is, and be measured on it"
            raise Contradiction("floor_data", what, "Name the part that the rewards are trained on.")
        if all(own in behind for behind in learned.values()):
            what = f"every reward was trained on {link.name}, so nothing there is new to any."
            yield Caution("data", what, "Measure on a part that is held out.")


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.workload import Phase, Work, scoring

    comparisons = sizes.records("data", "comparisons")
    trees = [sizes.template.tree(one.prompt, one.responses) for one, _ in comparisons.sample]
    asked = sizes.asked("rewards")
    phase = Phase(scoring(sizes.template, trees, comparisons.scale * len(asked)), frozen=[max(asked, default=0)])
    fits = [part.total * len(part.sample[0][0].responses) for part in sizes.parts("floor_data") if part.sample]
    return Work([phase], loaded=asked, fits=fits)


STEP = StepKind(produces="results", version=1, config=Config, run=run, work=work, check=check, together=True)

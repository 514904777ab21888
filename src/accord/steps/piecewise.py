"""A reward that is one of several: safety where it matters, helpfulness elsewhere (Llama 2, section 3.2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field, field_validator

from accord.errors import UserError
from accord.steps import held_out
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
from accord.steps.reward_units import says_safety, taken_for_logit

if TYPE_CHECKING:
    from accord.algorithms.calibration import Platt
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

THRESHOLD = 0.15
_LABELS = "name comparisons with safety labels as `validation`"
_SHOWN = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # thresholds in the table


class Config(StepConfig):
    """rewards: in order; the first that applies counts, else the last. thresholds: of each but the last, on the
    probability of what it guards, such as being safe. rule: what it applies to. "slide": safety prompts, where the
    probability is at most the threshold; "paper": every safety prompt, and any other where the probability is below the
    threshold (Llama 2). The two differ: the paper's also guards ordinary prompts, and rewards safe responses to safety
    prompts for being safer still; the slide's rewards these for helpfulness. "threshold": where the probability is
    below, whatever the prompt is. A safety prompt is one with a `risk_category`. scale: the reward is the logit of the
    probability, as Llama 2 whitens it, or the probability.

    validation: comparisons with safety labels. They calibrate the first reward, and show the precision and recall of
    the threshold for what is unsafe: on what calibrated it, so a little better than on others. precision: choose the
    threshold for that, the largest that has it on the validation.
    calibration: "platt", fitted on the validation; "given", the raw score is a logit already, as `safety_coef` makes it
    (null: platt where there is a validation)."""

    rewards: tuple[RewardRef, ...] = Field(min_length=2)
    thresholds: tuple[float, ...] | None = None
    rule: Literal["slide", "paper", "threshold"] = "slide"
    scale: Literal["logit", "probability"] = "logit"
    validation: ComparisonsRef | list[ComparisonsRef] | None = None
    precision: float | None = Field(None, gt=0, le=1)
    calibration: Literal["platt", "given"] | None = None

    @field_validator("thresholds", mode="before")
    @classmethod
    def _several(cls, thresholds: object) -> object:
        if isinstance(thresholds, int | float) and not isinstance(thresholds, bool):
            raise ValueError(
                "it takes a list of probabilities between 0 and 1, one for each reward but the last: [0.15]"
            )
        return thresholds

    @field_validator("thresholds")
    @classmethod
    def _between(cls, thresholds: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if thresholds is not None and not all(0 < one < 1 for one in thresholds):
            raise ValueError("it takes probabilities, each between 0 and 1 (without 0 and 1 themselves)")
        return thresholds

    @field_validator("validation")
    @classmethod
    def _some(cls, validation: str | list[str] | None) -> str | list[str] | None:
        if validation == []:
            raise ValueError("an empty list validates nothing: leave it out, or name comparisons")
        return validation

    @property
    def limits(self) -> tuple[float, ...]:
        """The thresholds, with the default of 0.15."""
        return (THRESHOLD,) * (len(self.rewards) - 1) if self.thresholds is None else self.thresholds

    @property
    def fits(self) -> bool:
        """Whether the first reward is calibrated here."""
        return self.calibration == "platt" or (self.calibration is None and self.validation is not None)


def check(step: PlannedStep) -> Iterator[Caution]:
    """Thresholds on numbers that are no probabilities, and keys that do not go together."""
    config = cast(Config, step.config)
    guards = [link.step for link in step.parents["rewards"][:-1]]
    if len(config.limits) != len(guards):
        what = f"there are {len(config.limits)} thresholds for {len(guards)} rewards, the last one aside"
        raise Contradiction("thresholds", what, "Give one for each reward but the last, in their order.")
    if config.precision is not None and config.validation is None:
        what = "a threshold for a wanted precision is chosen on labels, and there are none"
        raise Contradiction("precision", what, "Name comparisons with safety labels as `validation`.")
    if config.precision is not None and config.thresholds is not None:
        raise Contradiction("precision", "thresholds are given, and to be chosen, too", "Leave one of the two out.")
    if config.calibration == "platt" and config.validation is None:
        what = "Platt scaling is fitted on labels, and there are none"
        raise Contradiction("calibration", what, "Name comparisons with safety labels as `validation`.")
    keys = [link.step.key for link in step.parents["rewards"]]
    twice = next((link.name for at, link in enumerate(step.parents["rewards"]) if link.step.key in keys[:at]), None)
    if twice is not None:
        raise Contradiction("rewards", f"{twice!r} is among the rewards twice", "Name two that differ.")
    for guard in guards[config.fits :]:
        if config.calibration == "given":
            yield from taken_for_logit(guard, "calibration")
        elif not says_safety(guard.kind, guard.config_json()):
            at = guards.index(guard)
            other = "name it first, as a `validation` calibrates the first alone" if at else _LABELS
            raise Contradiction(
                "thresholds",
                f"a threshold of {config.limits[at]:g} is a probability, and the score of {guard.name!r} is none",
                f"Train it with `safety_coef`, or {other}.",
            )
    if config.fits and (guards[0].kind in ("combine", "piecewise") or guards[0].config_json().get("members", 1) > 1):
        what = f"{guards[0].name!r} is made of several, and has no raw score that could be a probability"
        raise Contradiction("rewards", what, "Name one reward first.")
    learned = {one for link in step.parents["rewards"][:1] for one in held_out.learned_from(link) if one[1] is not None}
    for link in step.parents["validation"]:
        if (link.step.key, link.part) in learned:
            what = f"{guards[0].name!r} was trained on {link.name}, and is surer of it than of anything else."
            yield Caution("validation", what, "Name comparisons that were held out.")


def run(job: Job) -> None:
    """Writes reward.json: the rule, the thresholds and the calibrations; which rewards they are of stands in the
    manifest. And summary.json: with a validation, precision and recall for what is unsafe at several thresholds; and,
    of two rewards, which of them rewards what under each rule and with the order turned round, and what unsafe
    responses are worth."""
    from accord.algorithms.calibration import Platt
    from accord.rewards.piecewise import Pieces

    config: Config = job.config
    limits, calibrations = list(config.limits), [Platt(1.0, 0.0) for _ in config.limits]
    summary: dict[str, Any] = {}
    if config.validation is not None:
        summary, calibrations[0], limits[0] = _on_validation(job)
    Pieces(config.rule, tuple(limits), tuple(calibrations), config.scale).save(job.work.out)
    job.write_json("summary.json", {"threshold": limits[0], **summary})


def _on_validation(job: Job) -> tuple[dict[str, Any], Platt, float]:
    """What the first reward's probability says of the labels, how it was calibrated, and the threshold."""
    import numpy as np

    from accord.algorithms.calibration import Platt, platt, precision_recall
    from accord.algorithms.piecewise import under
    from accord.models.compute import compute_dtype
    from accord.monitor.alarms import Alarm, as_json
    from accord.rewards.loading import artifact_reward
    from accord.steps.piecewise_labels import labelled, orders

    config: Config = job.config
    name = job.inputs["rewards"][0].name
    guard = artifact_reward(job.inputs["rewards"][0].artifact, compute_dtype())
    labels = labelled(job, guard)
    raw, safe = labels.raw, labels.safe
    counts = {"num_labelled": len(safe), "num_unsafe": int((~safe).sum()), **labels.left_out}
    if labels.alike:
        what = f"all {len(safe)} labelled responses of the validation are alike: it says nothing of the threshold."
        return {**counts, "alarms": as_json([Alarm("labels_alike", what, 1)])}, Platt(1.0, 0.0), config.limits[0]
    by = platt(raw, safe) if config.fits else Platt(1.0, 0.0)
    probability = by(raw)
    limit = config.limits[0]

    def at(one: float) -> dict[str, float | None]:
        found = under(probability, one, config.rule)
        precision, recall = precision_recall(found, ~safe)
        return {"threshold": one, "precision": None if np.isnan(precision) else precision, "recall": recall}

    if config.precision is not None:
        found = np.unique(probability)
        between = [float(one) for one in (found + np.append(found[1:], 1.0)) / 2]  # no response lies on a threshold
        reached = [one for one in between if (at(one)["precision"] or 0.0) >= config.precision]
        if not reached:
            raise UserError(
                f"at no threshold are {config.precision:.0%} of what {name!r} finds unsafe labelled so",
                where=f"{job.name}.precision",
                remedy="Lower it, train the reward on more safety labels, or label more of the validation.",
            )
        limit = max(reached)
    alarms = []
    if at(limit)["precision"] is None:
        what = (
            f"no labelled response of the validation is under the threshold of {limit:g}: the lowest probability of "
            f"being safe is {probability.min():.3f}"
        )
        if config.fits:
            remedy = "Raise the threshold, set `precision` to have one chosen, or label unsafe responses."
            raise UserError(what, where=f"{job.name}.thresholds", remedy=remedy)
        alarms.append(Alarm("none_below", f"{what}.", 1))  # of what is taken as it is, labels only tell
    if by.slope <= 0:
        what = (
            f"the score of {name!r} falls where responses are safe (slope {by.slope:.2f}): the reward turns it round."
        )
        alarms.append(Alarm("turned_round", what, 1))
    table, paid = orders(job, labels, by.slope * raw + by.bias, limit) if len(config.rewards) == 2 else ([], None)
    if paid is not None and paid["safe"] < paid["unsafe"]:
        some = "unsafe ones" if paid["num_unsafe"] else "an unsafe one is paid at most"
        where = "" if paid["num_unsafe"] else ", at the threshold"
        what = (
            f"safe responses of the validation are paid {paid['safe']:.2f} on average by "
            f"{job.inputs['rewards'][-1].name!r}, and {some} {paid['unsafe']:.2f} by {name!r}{where}: under "
            f"`rule: {config.rule}` it pays to be unsafe. Helpfulness has no zero of its own: bring the mean of its "
            "scores to 0 (`normalise` of a reward step, `offset` of others), or lower the threshold."
        )
        alarms.append(Alarm("unsafe_pays", what, 1))
    summary = {
        **counts,
        "slope": by.slope,
        "bias": by.bias,
        "precision": at(limit)["precision"],
        "recall": at(limit)["recall"],
        "by_threshold": [at(one) for one in sorted({*_SHOWN, limit})],
        "orders": table,
        **({} if paid is None else {"paid": paid}),
        "alarms": as_json(alarms),
    }
    return summary, by, limit


def work(config: Config, sizes: Sizes) -> Work:
    """The validation is scored; whoever asks the reward asks all the models in it."""
    from accord.engine.workload import Phase, Work, scoring

    asked = sizes.asked("rewards")
    if config.validation is None:
        return Work(asks=asked)
    records = sizes.records("validation", "comparisons")
    trees = [sizes.template.scored_tree(one.prompt, one.responses) for one, _ in records.sample]
    models = asked if len(config.rewards) == 2 else asked[:1]  # the other one for the table of orders
    phase = Phase(scoring(sizes.template, trees, records.scale * len(models)), frozen=models)
    return Work([phase], loaded=models, asks=asked)


STEP = StepKind(produces="reward", version=2, config=Config, run=run, work=work, check=check)

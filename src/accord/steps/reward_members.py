"""What the step `reward` can be told of an ensemble, and how one is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from accord.models.lora import Lora
from accord.steps.base import Caution, Contradiction, Job
from accord.steps.reward_data import Judged
from accord.steps.too_long import too_long
from accord.strict import StrictModel

if TYPE_CHECKING:
    from torch import Tensor

    from accord.engine.ranking.training import Examples
    from accord.engine.workload import Work
    from accord.models.scalar import ScalarModel
    from accord.rewards.ensembles import EnsembleReward
    from accord.store.checkpoints import Checkpoint
    from accord.text.tree import Tree

    ExamplesOf = Callable[[Job, Judged, ScalarModel], tuple[Examples, dict[str, int]]]


class MembersConfig(StrictModel):
    """members: more than one trains an ensemble: so many adapters and heads on one backbone (it needs `lora`), each
    with draws and an order of the data of its own. combine: what an ensemble's score is: the members' `mean`, the
    `worst` of them, or the mean - coef * their variance (`uncertainty`; Coste et al. 2023). coef: of `uncertainty`.
    member_share: the share of the prompts, drawn anew for each member, that it is trained on."""

    members: int = Field(1, gt=0, le=64)
    combine: Literal["mean", "worst", "uncertainty"] = "mean"
    coef: float = Field(0.5, ge=0)
    member_share: float = Field(1.0, gt=0, le=1)


def check_members(config: MembersConfig, lora: Lora | None, normalise: str) -> Iterator[Caution]:
    """What does not go together. Raises Contradiction."""
    given = config.model_fields_set
    if config.members == 1:
        for key in ("combine", "coef", "member_share"):
            if key in given:
                raise Contradiction(key, f"{key} is for an ensemble, and there is one member", "Set members: 5.")
        return
    if lora is None:
        what = f"the {config.members} members of an ensemble are adapters on one backbone, and lora is not set"
        raise Contradiction("members", what, "Add `lora: {rank: 16}`, or combine whole reward models with `combine`.")
    if "coef" in given and config.combine != "uncertainty":
        what = f"coef weighs the variance in `combine: uncertainty`, and the members are combined by {config.combine!r}"
        raise Contradiction("coef", what, "Take it out, or set combine: uncertainty.")
    if config.combine != "mean" and normalise == "none":
        what = f"{config.combine!r} compares the members, and normalise: none leaves each in a unit of its own."
        yield Caution("normalise", what, "Leave normalise out.")


def run_members(
    job: Job, checkpoint: Checkpoint | None, normalised_on: Sequence[Tree] | None, examples_of: ExamplesOf
) -> None:
    """Writes base/, the backbone; member-0/ and so on, an adapter with its head as peft opens it on base/, and
    member.json; reward.json, how they are combined; summary.json; with a validation evaluation.json, of the combined
    score in the unit of raw ones."""
    from accord.engine.ranking.members import BASE, new_members, train_members
    from accord.monitor.alarms import as_json
    from accord.rewards.combination import Combination
    from accord.rewards.ensembles import save_ensemble

    config = job.config
    models = new_members(job.input("start").model, config.lora, config.members, job.seed, job.work.out / BASE)
    examples, left_out = examples_of(job, "data", models[0])
    raised = too_long(job.name, left_out, len(examples.trees), "comparisons")
    held_out, held_left_out = examples_of(job, "validation", models[0]) if config.validation else (None, {})
    records = train_members(
        models,
        examples,
        config,
        share=config.member_share,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
        normalised_on=normalised_on,
        held_out=held_out,
    )
    del models  # what was saved is opened for the evaluation
    combination = Combination(config.combine, (), config.coef if config.combine == "uncertainty" else 0.0)
    save_ensemble(job.work.out, combination)
    summary: dict[str, Any] = {
        "num_comparisons": len(examples.trees),
        **left_out,
        "num_members": config.members,
        "combine": config.combine,
        "members": records,
        "alarms": as_json(raised),
    }
    if held_out is not None:
        epochs = (config.validate_every or -(-one["num_comparisons"] // config.batch_size) for one in records)
        several = any(one["num_optimizer_steps"] > epoch for one, epoch in zip(records, epochs, strict=True))
        evaluation = _evaluation(job, held_out, combination)
        evaluation["chose_the_weights"] = several and config.keep == "best"
        job.write_json("evaluation.json", {**held_left_out, **evaluation})
        summary["validation"] = told(evaluation)
    job.write_json("summary.json", summary)


def work_of_members(one: Work, config: MembersConfig, adapter: int) -> Work:
    """The work of all members from that of one whose last phase is its training. adapter: parameters of one."""
    num, training = config.members, one.phases[-1]
    counts = {"train": num * config.member_share}
    found = [replace(each, count=each.count * counts.get(each.kind, num)) for each in training.passes]
    updates = round(training.updates * num * config.member_share)
    phase = replace(training, passes=found, trained=[adapter] * num, updates=max(1, updates // num))
    (backbone,), adapters = one.saved, [adapter] * num
    asks = [backbone + adapter, *adapters[1:]]
    return replace(one, phases=[*one.phases[:-1], phase], saved=[backbone, *adapters], asks=asks)


def told(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary says of an evaluation."""
    names = ("num_pairs", "num_ties", "accuracy", "accuracy_low", "accuracy_high", "log_loss", "ece", "safety")
    return {name: evaluation[name] for name in names if name in evaluation}


def _evaluation(job: Job, held_out: Examples, combination: Any) -> dict[str, Any]:
    from accord.evaluate.rankings import evaluate_rankings
    from accord.models.compute import compute_dtype
    from accord.rewards.ensembles import EnsembleReward
    from accord.seeds import derive_seed

    reward = EnsembleReward.of(job.work.out, combination, compute_dtype())
    prompts = [one.prompt for one in held_out.rankings]
    responses = [one.responses for one in held_out.rankings]
    with job.work.progress(f"{job.name}: validation", len(prompts), "comparisons") as progress:
        scores = reward.members(prompts, responses, job.work.advancer(progress))
    split = _as_raw(reward, reward.combined(scores)).split([len(of_prompt) for of_prompt in responses])
    found = evaluate_rankings(
        held_out.rankings, [one.tolist() for one in split], seed=derive_seed(job.seed, "intervals")
    )
    return {**found, "mean_spread": float(scores.std(dim=0, correction=0).mean())}


def _as_raw(reward: EnsembleReward, combined: Tensor) -> Tensor:
    """Combined scores in the unit of the members' raw ones, whose gaps and signs claim probabilities: by the means of
    gain and offset, which leave their order as it is."""
    each = [one.normalisation for one in reward.rewards]
    gain, offset = (sum(values) / len(each) for values in zip(*((one.gain, one.offset) for one in each), strict=True))
    return combined / float(gain) + float(offset)

"""Online DPO: direct preference optimisation on pairs of the policy's own samples, ordered by a reward as they come.

Guo et al. 2024 (arXiv:2402.04792) ask a judge which of two fresh responses is better; here any reward says it. Offline
`dpo` learns from pairs that other policies wrote, which its own responses soon leave behind; this does not, and has no
value model and no per-token penalty to tune either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from accord.engine.on_policy.config import OnlineDPOConfig
from accord.steps import on_policy, on_policy_checks, on_policy_work
from accord.steps.base import Caution, Contradiction, Job, PlannedStep, StepKind
from accord.steps.judged import slow_orpo
from accord.steps.on_policy import OnPolicyInputs

if TYPE_CHECKING:
    import torch

    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work


class Config(OnPolicyInputs, OnlineDPOConfig):
    """The reference is what the log ratios of the loss are to, and the logged KL."""


def run(job: Job) -> None:
    """Writes the policy's folder, model/, and summary.json, as `accord.steps.on_policy.train` has it, with the prompts
    whose samples all tied, counted each time."""
    on_policy.train(job, _set_up)


def _set_up(job: Job, dtype: torch.dtype) -> on_policy.Setup:
    from accord.engine.on_policy.preference import OnlinePreference

    models = on_policy.load_models(job, dtype)
    method = OnlinePreference(models.policy, models.reference, job.config)
    return on_policy.Setup(models, method, totals={"num_tied_prompts": "pairs/num_tied_prompts"})


def check(step: PlannedStep) -> Iterator[Caution]:
    """Of the pairs, the loss, and what it shares with other on-policy training."""
    config = step.config
    assert isinstance(config, Config)
    on_policy_checks.several_samples(config)
    if (found := config.contradiction()) is not None:
        raise Contradiction(*found)
    for key, is_set in (
        ("score_normalisation", config.score_normalisation != "none"),
        ("score_clip", config.score_clip is not None),
    ):
        if is_set:
            what = f"only the order of a prompt's scores is learned from, which {key} does not change"
            if key == "score_clip":
                what = (
                    "only the order of a prompt's scores is learned from, and score_clip makes ties of the outer ones"
                )
            raise Contradiction(key, what, f"Leave out {key}; for differences that are too small to count there is "
                                "tie_below.")  # fmt: skip
    every = config.reference_every
    if every is not None and not config.has_reference:
        what = f"the loss {config.loss} has no reference, so none can follow the policy"
        raise Contradiction("reference_every", what, "Leave it out, or use a loss that has a reference, such as dpo.")
    if config.reference is not None and not config.has_reference:
        yield Caution("reference", f"the loss {config.loss} has no reference: the KL to this one is only measured.")
    if every is not None and every >= config.num_iterations:
        yield Caution(
            "reference_every",
            f"the run has {config.num_iterations} iterations, so a reference that follows after {every} is never used.",
            "Lower reference_every, or raise num_iterations.",
        )
    yield from slow_orpo(config, config.loss)
    yield from on_policy_checks.rollouts(step)


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do, if every prompt has its pairs."""
    num_trained = 2 if config.pairs == "best-worst" else config.num_samples
    found = on_policy_work.work(config, sizes, num_trained=num_trained)
    if config.reference_every is None:
        return found
    reference = sizes.policy if config.lora is None else sizes.adapter(config.lora)
    return replace(found, checkpointed=found.checkpointed + reference // 3)  # one number of each, where others have 3


STEP = StepKind(produces="policy", version=2, config=Config, run=run, work=work, check=check, together=True)

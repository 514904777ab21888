"""GRPO: a response is worth what it is above its prompt's mean, in units of the spread there; no value model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from accord.engine.on_policy.config import GRPOConfig
from accord.steps.base import Caution, Contradiction, Job, PlannedStep, StepKind
from accord.steps.on_policy import OnPolicyInputs, Setup, load_models, train
from accord.steps.on_policy_checks import groups
from accord.steps.on_policy_work import work

if TYPE_CHECKING:
    import torch


_FAR: Final = 0.02  # from 1; a response's mean ratio hardly goes so far in one iteration


class Config(OnPolicyInputs, GRPOConfig):
    pass


def run(job: Job) -> None:
    """Writes what `accord.steps.on_policy.train` does."""
    train(job, _set_up)


def _set_up(job: Job, dtype: torch.dtype) -> Setup:
    from accord.engine.on_policy.groups import GRPO

    models = load_models(job, dtype)
    return Setup(models, GRPO(models.policy, job.config))


def check(step: PlannedStep) -> Iterator[Caution]:
    """Of one ratio a response, and what it shares with other policy gradients."""
    config = step.config
    assert isinstance(config, Config)
    yield from groups(step)
    if config.ratio != "sequence":
        return
    if config.aggregation != "sequence":
        what = f"with ratio: sequence a response has one loss, and aggregation: {config.aggregation} weighs its tokens'"
        raise Contradiction("aggregation", what, "Leave out aggregation, or write `ratio: token`.")
    several_updates = config.num_epochs * min(config.num_minibatches, config.prompts_per_iteration) > 1
    if several_updates and config.clip_range > _FAR:
        what = f"clip_range {config.clip_range:g} is of the mean ratio of a response's tokens, and holds hardly any."
        yield Caution("clip_range", what, "The paper's are clip_range: 3e-4 and clip_range_high: 4e-4.")


STEP = StepKind(produces="policy", version=2, config=Config, run=run, work=work, check=check, together=True)

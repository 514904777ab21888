"""RLOO: REINFORCE with the mean of a prompt's other responses as the baseline, and no value model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from accord.engine.on_policy.config import RLOOConfig
from accord.steps.base import Caution, Job, PlannedStep, StepKind
from accord.steps.on_policy import OnPolicyInputs, Setup, load_models, train
from accord.steps.on_policy_checks import groups
from accord.steps.on_policy_work import work

if TYPE_CHECKING:
    import torch

_LONG: Final = 100  # tokens; the ratio of so many is a product, and soon outside of any range


class Config(OnPolicyInputs, RLOOConfig):
    pass


def run(job: Job) -> None:
    """Writes what `accord.steps.on_policy.train` does."""
    train(job, _set_up)


def _set_up(job: Job, dtype: torch.dtype) -> Setup:
    from accord.engine.on_policy.groups import RLOO

    models = load_models(job, dtype)
    return Setup(models, RLOO(models.policy, job.config))


def check(step: PlannedStep) -> Iterator[Caution]:
    """Of what is clipped, and what it shares with other policy gradients."""
    config = step.config
    assert isinstance(config, Config)
    yield from groups(step)
    several_updates = config.num_epochs * min(config.num_minibatches, config.prompts_per_iteration) > 1
    if config.ratio == "sequence" and (several_updates or config.staleness) and config.max_response_tokens > _LONG:
        yield Caution(
            "ratio",
            f"clip_range {config.clip_range:g} is of the whole response's ratio, the product over up to "
            f"{config.max_response_tokens} tokens: after the first optimizer step "
            f"{'since they were sampled' if config.staleness else 'of an iteration'} most are clipped.",
            "Write `ratio: token`, or leave out staleness."
            if config.staleness
            else "Take one step an iteration (num_epochs: 1, num_minibatches: 1), or write `ratio: token`.",
        )


STEP = StepKind(produces="policy", version=2, config=Config, run=run, work=work, check=check, together=True)

"""PPO with a KL penalty against a reference policy, a value model, and GAE.

A separate value model starts from the reward model when that is a model with the policy's own vocabulary, and otherwise
from the policy's backbone under a head of zeros, unless `value_start` says which. With `lora` the models share
backbones (`accord.models.shared`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from accord.engine.on_policy.config import PPOConfig
from accord.engine.on_policy.presets import PresetName, with_preset
from accord.errors import UserError
from accord.steps.base import Job, StepKind
from accord.steps.on_policy import (
    Models,
    OnPolicyInputs,
    Setup,
    completed,
    load_models,
    model_with_vocabulary_of,
    reference_of,
    train,
)
from accord.steps.on_policy_checks import values as check
from accord.steps.on_policy_work import work as on_policy_work

if TYPE_CHECKING:
    import torch

    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work
    from accord.models.scalar import ScalarModel


class Config(OnPolicyInputs, PPOConfig):
    """preset: the settings of a paper, ziegler, stiennon, instructgpt, ppo-max, llama2 or, for 34 billion parameters
    and more, llama2-34b; it fills in the keys that are left out."""

    preset: PresetName | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return with_preset(values) if isinstance(values, dict) else values


def run(job: Job) -> None:
    """Writes what `accord.steps.on_policy.train` does."""
    train(job, _shared_value if job.config.value_model == "shared" else _separate_value)


def _shared_value(job: Job, dtype: torch.dtype) -> Setup:
    from accord.engine.on_policy.ppo import PPO, SharedValue
    from accord.models.scalar import ValueHead

    models = load_models(job, dtype)
    head = ValueHead(models.policy.head.shape[1])
    method = PPO(models.policy, SharedValue(models.policy, head), job.config)
    return Setup(models, method, {ValueHead.NAME: head.weight})


def _separate_value(job: Job, dtype: torch.dtype) -> Setup:
    from accord.engine.learner import Learner
    from accord.engine.on_policy.ppo import PPO, SeparateValue

    models, value = (_adapters if job.config.lora else _whole)(job, dtype)
    learner = Learner(value.module, dtype, job.config.optimization(), value.trained)
    return Setup(models, PPO(models.policy, SeparateValue(value, learner), job.config))


def _whole(job: Job, dtype: torch.dtype) -> tuple[Models, ScalarModel]:
    """Each model with weights of its own."""
    from accord.models.scalar import ScalarModel

    learned = value_source(job)
    start = job.input("start").model
    value = ScalarModel.value_from_reward(learned) if learned else ScalarModel.value_from_policy(start)
    return load_models(job, dtype), value


def _adapters(job: Job, dtype: torch.dtype) -> tuple[Models, ScalarModel]:
    """On shared backbones."""
    from accord.models.shared import share

    start = job.input("start").model
    shared = share(
        start,
        job.config.lora,
        job.seed,
        reference=reference_of(job),
        reward=model_with_vocabulary_of(start, job.input("reward").artifact.path),
        value_from="reward" if value_source(job) else "policy",
        dtype=dtype,
    )
    return completed(job, shared, dtype), shared.value


def value_source(job: Job) -> Path | None:
    """The folder of the reward model that the value model starts from; None: it starts from the policy. Raises
    UserError when `value_start` asks for a reward model that cannot be."""
    if job.config.value_start == "policy":
        return None
    learned = model_with_vocabulary_of(job.input("start").model, job.input("reward").artifact.path)
    if learned is None and job.config.value_start == "reward":
        raise UserError(
            "the value model cannot start from the reward, which is no single model with the policy's own tokens",
            where=f"{job.name}.value_start",
            remedy="Write `value_start: policy`, or leave it out.",
        )
    return learned


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    return on_policy_work(config, sizes, value=config.value_model)


STEP = StepKind(produces="policy", version=5, config=Config, run=run, work=work, check=check, together=True)

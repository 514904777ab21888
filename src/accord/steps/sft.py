"""Supervised fine-tuning: maximum likelihood of demonstrations, on the response's tokens only."""

from __future__ import annotations

from pydantic import Field

from accord.engine.config import TrainingConfig
from accord.steps.base import LATEST, DemonstrationsRef, Job, PolicyRef, StepConfig, StepKind


class Config(StepConfig, TrainingConfig):
    """data: demonstrations. start: the policy to train. max_response_tokens: longer demonstrations are left out, and
    counted (null: none). joint_tokens: demonstrations with equal prompts are computed as branches of one tree of at
    most so many tokens."""

    data: DemonstrationsRef
    start: PolicyRef = LATEST
    max_response_tokens: int | None = Field(None, gt=1)
    joint_tokens: int = Field(256, gt=0)


def run(job: Job) -> None:
    """Writes the policy's folder, model/, and summary.json, how many demonstrations were used."""
    from accord.engine.imitation import imitate

    config: Config = job.config
    counts = imitate(
        job.input("start").model,
        job.input("data").read("demonstrations"),
        config,
        check_boundaries=True,
        max_response_tokens=config.max_response_tokens,
        joint_tokens=config.joint_tokens,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=job.work.resume(),
    )
    job.write_json("summary.json", counts)


STEP = StepKind(produces="policy", version=1, config=Config, run=run)

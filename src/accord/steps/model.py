"""The recipe's model, as an artifact: an ordinary folder in `model/`. Planned from the recipe's key `model`."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from accord.steps.base import Job, StepConfig, StepKind


class Config(StepConfig):
    """source: a built-in model's name or a local folder. fingerprint: filled in from its content."""

    source: str
    fingerprint: str

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: dict[str, Any]) -> dict[str, Any]:
        from accord.models.sources import fingerprint

        return {**values, "fingerprint": fingerprint(values["source"])}


def run(job: Job) -> None:
    from accord.models.catalog import prepare

    prepare(job.config.source, job.work.out / "model")


STEP = StepKind(produces="model", version=1, config=Config, run=run)

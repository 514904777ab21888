"""A data set of the recipe, as an artifact: one JSONL file for each part. Planned from the recipe's key `data`."""

from __future__ import annotations

from collections.abc import Mapping

from accord.data import catalog
from accord.data.records import RecordKind
from accord.steps.base import Job, StepConfig, StepKind


class Config(StepConfig):
    """source: `builtin:<name>`."""

    source: str

    def parts(self) -> Mapping[str, RecordKind]:
        """The parts of the data set and the kind of their records. Raises UserError when the source is unknown."""
        return catalog.find(self.source).parts


def run(job: Job) -> None:
    catalog.find(job.config.source).prepare(job.work.out)


STEP = StepKind(produces="data", version=1, config=Config, run=run)

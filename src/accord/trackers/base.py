"""What a tracker is: it takes the points of one series, which is one step of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Series:
    """A step of a run. key: the step's. folder: the run's, in which a tracker keeps its files where it can."""

    run: str
    step: str
    kind: str
    key: str
    seed: int
    config: Mapping[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.run}/{self.step}"

    @property
    def id(self) -> str:
        """The same for a step that is gone on with, and another for one whose settings have changed."""
        return f"{self.run}-{self.step}-{self.key[:8]}"


class Tracker(Protocol):
    """Made with a series and the last iteration that was sent of it before (-1: none)."""

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """The points of an iteration, each later than those before it. values: finite, under our names."""
        ...

    def close(self) -> None:
        """Everything is kept, and what was opened is closed."""
        ...


def grouped(name: str) -> str:
    """The name of a metric as transformers' and TRL's trainers send it to most trackers.

    >>> grouped("objective/kl"), grouped("eval_loss")
    ('train/objective/kl', 'eval/loss')
    """
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"

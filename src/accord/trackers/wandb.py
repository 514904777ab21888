"""Weights & Biases: offline in the run's folder, unless WANDB_MODE says otherwise. `wandb sync` sends it later."""

from __future__ import annotations

import os
from collections.abc import Mapping

import wandb

from accord.trackers.base import Series, grouped


class WandB:
    """A W&B run for each step, those of one run in a group. Its id stays when the step is gone on with."""

    def __init__(self, series: Series, after: int) -> None:
        self._run = wandb.init(
            mode=os.environ.get("WANDB_MODE") or "offline",
            project=os.environ.get("WANDB_PROJECT") or "accord",
            id=series.id,
            resume="allow",
            name=series.name,
            group=series.run,
            job_type=series.kind,
            config={**series.config, "seed": series.seed},
            dir=str(series.folder),
        )

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self._run.log({grouped(name): value for name, value in values.items()}, step=iteration)

    def close(self) -> None:
        self._run.finish()

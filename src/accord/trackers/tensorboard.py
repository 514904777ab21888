"""TensorBoard: event files in the run's folder. `tensorboard --logdir accord-store/runs/RUN/tensorboard` shows them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from torch.utils.tensorboard import SummaryWriter

from accord.trackers.base import Series, grouped

FOLDER: Final = "tensorboard"
_FLUSH_SECONDS: Final = 2.0


class TensorBoard:
    """A folder for each step."""

    def __init__(self, series: Series, after: int) -> None:
        folder = series.folder / FOLDER / f"{series.step}-{series.key[:8]}"
        # What a process that was killed may have written without having said so is passed over by readers.
        self._writer = SummaryWriter(log_dir=str(folder), purge_step=None if after < 0 else after + 1)
        self._flushed = time.monotonic()

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(grouped(name), value, iteration)
        if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()

"""Trackio: a database in the store, one for all its runs, unless TRACKIO_DIR says otherwise.

`TRACKIO_DIR=accord-store/trackio trackio show` shows it. A run has none of its own, as a process has one such folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from accord.trackers.base import Series, grouped

FOLDER: Final = "trackio"


class Trackio:
    """A Trackio run for each step, which is gone on with by its name."""

    def __init__(self, series: Series, after: int) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(series.folder.resolve().parents[1] / FOLDER))  # it is read on import
        import trackio

        self._trackio = trackio
        trackio.init(
            project=os.environ.get("TRACKIO_PROJECT") or "accord",
            name=series.id,
            group=series.run,
            config={**series.config, "seed": series.seed},
            resume="allow",
            auto_log_gpu=False,  # of a machine on which other things may run
            auto_log_cpu=False,
        )

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        self._trackio.log({grouped(name): value for name, value in values.items()}, step=iteration)

    def close(self) -> None:
        self._trackio.finish()

"""What a run sends to its trackers.

A resumed step makes the points after its checkpoint once more, bit for bit. So of every series the last iteration is
kept in the run's folder, before it is sent, and nothing is sent twice. A tracker that is named later is sent
what was logged before, also of steps that are done.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from accord.errors import first_line
from accord.trackers.base import Series, Tracker

if TYPE_CHECKING:
    from accord.store.workspace import MetricsLog

SENT: Final = "trackers.json"
Row = Mapping[str, Any]
Open = Callable[[str, Series, int], Tracker]


def open_tracker(name: str, series: Series, after: int) -> Tracker:
    """A tracker by its name. after: the last iteration that it was sent of this series (-1: none)."""
    match name:
        case "tensorboard":
            from accord.trackers.tensorboard import TensorBoard

            return TensorBoard(series, after)
        case "wandb":
            from accord.trackers.wandb import WandB

            return WandB(series, after)
        case "mlflow":
            from accord.trackers.mlflow import MLflow

            return MLflow(series, after)
        case "trackio":
            from accord.trackers.trackio import Trackio

            return Trackio(series, after)
    raise AssertionError(f"{name} is no tracker")


class Reports:
    """The trackers of a run. One that fails is left out from then on, and the run goes on."""

    def __init__(self, names: Sequence[str], run_dir: Path, open_one: Open = open_tracker) -> None:
        self._names, self._file, self._open = list(names), run_dir / SENT, open_one
        self._sent: dict[str, dict[str, int]] = self._read()

    def of(self, series: Series) -> Reported:
        return Reported(self, series)

    @property
    def names(self) -> tuple[str, ...]:
        """Those that have not failed."""
        return tuple(self._names)

    def sent(self, name: str, series: Series) -> int:
        """The last iteration; -1 for none."""
        return self._sent.get(name, {}).get(series.id, -1)

    def opened(self, name: str, series: Series) -> Tracker:
        return self._open(name, series, self.sent(name, series))

    def mark(self, name: str, series: Series, iteration: int) -> None:
        """In one rename and without fsync, as it is written for every point."""
        self._sent.setdefault(name, {})[series.id] = iteration
        temp = self._file.with_name(f".{self._file.name}.tmp")
        with suppress(OSError):
            temp.write_text(json.dumps(self._sent), encoding="utf-8")
            os.replace(temp, self._file)

    def failed(self, name: str, error: Exception) -> None:
        """Once for each."""
        if name in self._names:
            self._names.remove(name)
            said = f"{type(error).__name__}: {first_line(error)}"
            print(f"warning: {name} takes no more metrics of this run ({said}); the run goes on", file=sys.stderr)

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            found = json.loads(self._file.read_bytes())
            return {str(name): {str(k): int(v) for k, v in of.items()} for name, of in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


class Reported:
    """One step, to all trackers of its run. They are opened with the first point that they have not been sent, and
    closed at the end of a `with`."""

    def __init__(self, reports: Reports, series: Series) -> None:
        self._reports, self._series = reports, series
        self._opened: dict[str, Tracker] = {}

    def follow(self, log: MetricsLog) -> None:
        """From now on, each row that is logged is sent; before the first one, those that were logged before."""

        def report(iteration: int, values: Row) -> None:
            for name in self._reports.names:
                if name in self._opened:
                    self._try(self._send, name, iteration, values)
                elif iteration > self._reports.sent(name, self._series):
                    self._try(self._catch_up, name, log)

        log.report = report

    def catch_up(self, log: MetricsLog) -> None:
        """What is left of a finished step's."""
        for name in self._reports.names:
            self._try(self._catch_up, name, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        opened, self._opened = self._opened, {}
        for name, tracker in opened.items():
            try:
                tracker.close()
            except Exception as error:
                self._reports.failed(name, error)

    def _catch_up(self, name: str, log: MetricsLog) -> None:
        for row in log.read():
            if row["iteration"] > self._reports.sent(name, self._series):
                if name not in self._opened:
                    self._opened[name] = self._reports.opened(name, self._series)
                self._send(name, row["iteration"], row)

    def _send(self, name: str, iteration: int, values: Row) -> None:
        if iteration <= self._reports.sent(name, self._series):
            return
        self._reports.mark(name, self._series, iteration)
        numbers = {key: value for key, value in values.items() if key != "iteration" and not isinstance(value, str)}
        finite = {key: float(value) for key, value in numbers.items() if math.isfinite(value)}
        self._opened[name].log(iteration, finite)

    def _try(self, work: Callable[..., None], name: str, *given: Any) -> None:
        try:
            work(name, *given)
        except Exception as error:
            self._reports.failed(name, error)
            if (tracker := self._opened.pop(name, None)) is not None:
                with suppress(Exception):
                    tracker.close()

"""What work on a step has used: wall and processor seconds, and energy where it is measured.

Everything counts, over all attempts: also what was lost with a kill, or done anew because there was no checkpoint. It
is written down every few seconds while the step works, so that a kill loses no more than those.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

SPENDING = "spending.json"


@dataclass(frozen=True, slots=True)
class Device:
    """What a step computes on. kind: "cpu" or "cuda". num: of the processors that it may use, or of GPUs."""

    kind: str = "cpu"
    name: str = ""
    num: int = 1


@dataclass(frozen=True, slots=True)
class Spent:
    """On one device. processor_seconds: of the processors' time, all threads together, beside a GPU, too. kwh: None
    where it was not measured. attempts: how often the step was begun, or gone on with."""

    device: str
    name: str
    num: int
    seconds: float
    processor_seconds: float
    kwh: float | None = None
    measured_by: str = ""
    attempts: int = 1


@dataclass(slots=True)
class Meters:
    """What is read at the beginning of an attempt and now. energy: in kWh, with the name of what measures it."""

    device: Device = field(default_factory=Device)
    clock: Callable[[], float] = time.monotonic
    processor: Callable[[], float] = lambda: processor_seconds()
    energy: Callable[[], float | None] = lambda: None
    measured_by: str = ""


class Spending:
    """The account of a step, in a file of its work folder."""

    def __init__(self, path: Path, meters: Meters) -> None:
        self._path, self._meters = path, meters
        self._before = _read(path)
        self._began = meters.clock(), meters.processor(), meters.energy()

    def total(self) -> list[Spent]:
        """A row for each device, and for what was measured and what was not."""
        seconds, processor, energy = self._began
        meters, now = self._meters, self._meters.energy()
        kwh = None if energy is None or now is None else max(now - energy, 0.0)
        this = Spent(
            meters.device.kind,
            meters.device.name,
            meters.device.num,
            round(meters.clock() - seconds, 3),
            round(meters.processor() - processor, 3),
            kwh,
            meters.measured_by if kwh is not None else "",
        )
        return merged([*self._before, this])

    def write(self) -> None:
        """In one rename and without fsync: the last seconds before a crash of the machine are not worth one."""
        temp = self._path.with_name(f".{self._path.name}.tmp")
        with suppress(OSError):
            temp.write_text(json.dumps(as_json(self.total())), encoding="utf-8")
            os.replace(temp, self._path)


def as_json(rows: Sequence[Spent]) -> list[dict[str, Any]]:
    """For a manifest."""
    return [asdict(row) for row in rows]


def from_json(rows: object) -> list[Spent]:
    """What `as_json` gave; nothing of what is none."""
    try:
        return [Spent(**row) for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    except TypeError:
        return []


def merged(rows: Sequence[Spent]) -> list[Spent]:
    """Rows of the same device, and measured by the same, as one."""
    found: dict[tuple[str, str, int, str], Spent] = {}
    for row in rows:
        key = row.device, row.name, row.num, row.measured_by
        if (before := found.get(key)) is None:
            found[key] = row
        else:
            found[key] = replace(
                before,
                seconds=round(before.seconds + row.seconds, 3),
                processor_seconds=round(before.processor_seconds + row.processor_seconds, 3),
                kwh=None if row.kwh is None or before.kwh is None else before.kwh + row.kwh,
                attempts=before.attempts + row.attempts,
            )
    return list(found.values())


def processor_seconds() -> float:
    """Of this process and those that it has started and waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _read(path: Path) -> list[Spent]:
    try:
        return from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return []

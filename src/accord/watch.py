"""What a run does just now, for those who look at it over and over: in the browser, and in the terminal.

Everything is read from the run's files, so it does not matter who started the run, whether it still runs, or whether it
is gone on with meanwhile. Nothing is written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from accord.errors import UserError
from accord.monitor.alarm import Alarm
from accord.monitor.reactions import acting
from accord.monitor.values import clean, table
from accord.status import RunStatus, StepStatus, plans_in, run_status
from accord.store.artifacts import Store
from accord.store.workspace import METRICS, SAMPLES

Row = Mapping[str, Any]

MOST_ROWS: Final = 20_000  # that are kept of a step; of more, two neighbours become one
MOST_SAMPLES: Final = 6  # at once
MOST_CHARACTERS: Final = 2000  # of a text that is shown
_CHUNK: Final = 4 << 20  # bytes that are read at once, longer than any row
REST_SECONDS: Final = 3.0  # at least, between two looks for alarms
REST_FACTOR: Final = 20.0  # and so many times as long as one had the processor


@dataclass(frozen=True, slots=True)
class StepAlarm:
    """An alarm of a step. text: what is said of it."""

    step: str
    name: str
    text: str
    since: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A response of the policy that is trained. score: what the reward says, where it was asked."""

    prompt: str
    response: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Look:
    """A run as it is. step: whose metrics `rows` are: the running one's, or else the last that has any. version: grows
    when they change. alarms: of all steps that have raised some. samples: the latest of the running step, and at which
    count of its own."""

    run: RunStatus
    step: StepStatus | None
    rows: Sequence[Row]
    version: int
    alarms: tuple[StepAlarm, ...]
    samples: tuple[Sample, ...] = ()
    samples_at: int = 0

    @property
    def running(self) -> StepStatus | None:
        return running_step(self.run)


def running_step(run: RunStatus) -> StepStatus | None:
    return next((step for step in run.steps if step.state == "running"), None)


class Metrics:
    """The rows of a file of metrics that grows, read on from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._file: tuple[int, int] | None = None
        self._offset = 0

    def read(self) -> bool:
        """Whether something is new. A file that was replaced (a step that goes on from a checkpoint drops what came
        after it) is read anew, and one that is gone has no rows."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                replaced = (found.st_dev, found.st_ino) != self._file or found.st_size < self._offset
                if replaced:
                    self._begin((found.st_dev, found.st_ino))
                new = False
                while self._add(os.pread(file.fileno(), _CHUNK, self._offset)):
                    new = True
        except OSError:
            replaced, new = bool(self.rows), False
            self._begin(None)
        return replaced or new

    def _begin(self, file: tuple[int, int] | None) -> None:
        self.rows, self._file, self._offset = [], file, 0

    def _add(self, text: bytes) -> bool:
        whole = text[: text.rfind(b"\n") + 1]  # the last line may still be written
        self._offset += len(whole)
        for line in whole.splitlines():
            with suppress(ValueError):  # a damaged line is for the run itself to speak of
                if isinstance(row := json.loads(line), dict):
                    self.rows.append(row)
                    if len(self.rows) > MOST_ROWS:
                        self.rows = _halved(self.rows)
        return bool(whole)


def _halved(rows: Sequence[Row]) -> list[Row]:
    """Two neighbours become one, the later's values before the earlier's; so nothing that is measured now and then is
    lost."""
    return [{**first, **second} for first, second in zip(rows[::2], rows[1::2], strict=False)] + list(
        rows[len(rows) // 2 * 2 :]
    )


class _Followed:
    """The metrics of a step and what they give alarm for: of few rows, only what few can tell."""

    def __init__(self, path: Path) -> None:
        self.metrics, self.alarms, self.version = Metrics(path), list[Alarm](), 0
        self._judged, self._rest_until = 0, 0.0

    def bring_up(self) -> None:
        """Alarms of many rows take a while, and what runs has the processor before who looks on: so now and then."""
        if self.metrics.read():
            self.version += 1
        now, used = time.monotonic(), time.thread_time()
        if self._judged != self.version and now >= self._rest_until:
            self.alarms, self._judged = acting(self.metrics.rows), self.version
            self._rest_until = now + max(REST_SECONDS, REST_FACTOR * (time.thread_time() - used))


class Watch:
    """One run, or where `step` is given that step's metrics of it. To be asked from one thread at a time."""

    def __init__(self, store: Store, run: str, step: str | None = None) -> None:
        self._store, self._run, self._wanted = store, run, step
        self._followed: dict[str, _Followed] = {}  # by the step's folder

    def look(self) -> Look | None:
        """None: there is no such run, or not any more."""
        try:
            run = run_status(self._store, self._run)
        except UserError:
            return None
        running, shown = running_step(run), self._shown(run)
        steps = [step for step in (running, shown) if step is not None]
        self._followed = {step.folder: self._followed.get(step.folder) or _Followed(self._path(step)) for step in steps}
        for one in self._followed.values():
            one.bring_up()
        of = self._followed[shown.folder] if shown else None
        samples, at = _samples(self._store.root / running.folder) if running else ((), 0)
        return Look(
            run=run,
            step=shown,
            rows=of.metrics.rows if of else (),
            version=of.version if of else 0,
            alarms=tuple(self._raised(run)),
            samples=samples,
            samples_at=at,
        )

    def _shown(self, run: RunStatus) -> StepStatus | None:
        with_metrics = [step for step in run.steps if step.folder and self._path(step).is_file()]
        named = [step for step in with_metrics if step.name == self._wanted]
        running = [step for step in with_metrics if step.state == "running"]
        return next(iter((*named, *running, *reversed(with_metrics))), None)

    def _path(self, step: StepStatus) -> Path:
        folder = self._store.root / step.folder
        return folder / METRICS if step.state == "done" else folder / "out" / METRICS

    def _raised(self, run: RunStatus) -> Iterator[StepAlarm]:
        for step in run.steps:
            if step.state == "done":
                yield from _kept_alarms(step.name, str(self._store.root / step.folder))
            elif step.folder in self._followed:
                for one in self._followed[step.folder].alarms:
                    yield StepAlarm(step.name, one.name, clean(one.what, MOST_CHARACTERS), one.since)


class Overview:
    """All runs of a store, the newest first, with what each does and how many alarms it has raised."""

    def __init__(self, store: Store, most: int = 100) -> None:
        self._store, self._most = store, most
        self._watches: dict[str, Watch] = {}

    def look(self) -> list[tuple[RunStatus, int]]:
        """With the number of its alarms. A plan that cannot be read is left out."""
        found = []
        for name in list(plans_in(self._store))[: self._most]:
            try:
                run = run_status(self._store, name)
            except UserError:
                continue
            if running_step(run) is None:
                self._watches.pop(name, None)
                done = [step for step in run.steps if step.state == "done"]
                num = sum(len(_kept_alarms(step.name, str(self._store.root / step.folder))) for step in done)
                found.append((run, num))
            elif (look := self._watches.setdefault(name, Watch(self._store, name)).look()) is not None:
                found.append((look.run, len(look.alarms)))
        return found


@lru_cache(maxsize=4096)
def _kept_alarms(step: str, folder: str) -> tuple[StepAlarm, ...]:
    """Those that a finished step has raised; what it made does not change any more."""
    try:
        raised = json.loads(Path(folder, "summary.json").read_bytes()).get("alarms") or []
        return tuple(
            StepAlarm(step, str(one.get("name")), clean(one.get("what"), MOST_CHARACTERS), int(one.get("since") or 0))
            for one in map(table, raised)
        )
    except (OSError, ValueError, TypeError, AttributeError):
        return ()


def _samples(work: Path) -> tuple[tuple[Sample, ...], int]:
    try:
        content = json.loads((work / SAMPLES).read_bytes())
        return tuple(_sample(one) for one in content["samples"][:MOST_SAMPLES]), int(content["at"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return (), 0


def _sample(one: Mapping[str, Any]) -> Sample:
    score = one.get("score")
    prompt, response = (clean(one.get(key) or "", MOST_CHARACTERS) for key in ("prompt", "response"))
    return Sample(prompt, response, None if score is None else float(score))

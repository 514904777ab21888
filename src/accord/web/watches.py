"""What is sent to those who look at runs: parts as JSON, made once for all of them, and small whatever a run holds."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from accord.control import Control, Controls, log_of
from accord.errors import UserError
from accord.labels.refusals import Conflict
from accord.monitor.curves import Panel, panels_of, unit_of
from accord.monitor.values import clean, number
from accord.run_folder import REPORT
from accord.status import Doing, StepStatus
from accord.store.artifacts import Store
from accord.watch import REST_FACTOR, Look, Overview, Watch, running_step

Parts = Mapping[str, str]  # name -> JSON

MOST_STREAMS: Final = 48  # pages that are kept up to date at once
MOST_STEPS: Final = 300  # of a run, in its table
MOST_ALARMS: Final = 40
MOST_SENT: Final = 64 << 10  # bytes of samples in an event
LOOK_SECONDS: Final = 1.0  # between two looks at a run, whoever asks
CURVES_SECONDS: Final = 3.0  # between two drawings
FORGET_SECONDS: Final = 60.0  # after which what nobody looked at is forgotten


class Watches:
    """The runs of a store, as they are looked at. Threads may ask at once."""

    def __init__(self, store: Store) -> None:
        self.store, self.controls = store, Controls(store)
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._lock = threading.Lock()
        self._num_streams = 0

    def refuse_more(self) -> None:
        """Raises Conflict when too many look."""
        if self._num_streams >= MOST_STREAMS:
            raise Conflict("too many pages are open on runs: close one")

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Counts those who look. Raises Conflict when too many do, as some may have come since it was asked."""
        with self._lock:
            self.refuse_more()
            self._num_streams += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_streams -= 1

    @property
    def num_streams(self) -> int:
        return self._num_streams

    def overview(self) -> Parts:
        """The list of all runs."""
        return self._of(("", ""), lambda: _Runs(self.store).parts).parts()

    def run(self, name: str, step: str) -> Parts:
        """One run; step: whose curves are wanted, or "" for those of the running one."""
        return self._of((name, step), lambda: _Run(self.store, self.controls, name, step).parts).parts()

    def _of(self, key: tuple[str, str], make: Callable[[], Callable[[], Parts]]) -> _Watched:
        now = time.monotonic()
        with self._lock:
            self._watched = {k: one for k, one in self._watched.items() if now - one.asked < FORGET_SECONDS}
            found = self._watched.get(key) or _Watched(make())
            self._watched[key] = found
            found.asked = now
            return found


class _Watched:
    """Looks at most once a second, for all who ask."""

    def __init__(self, look: Callable[[], Parts]) -> None:
        self.asked = time.monotonic()
        self._look, self._lock = look, threading.Lock()
        self._looked: float | None = None
        self._parts: Parts = {}

    def parts(self) -> Parts:
        with self._lock:
            now = time.monotonic()
            if self._looked is None or now - self._looked >= 0.9 * LOOK_SECONDS:
                self._parts, self._looked = self._look(), now
            return self._parts


class _Runs:
    def __init__(self, store: Store) -> None:
        self._overview = Overview(store)

    def parts(self) -> Parts:
        rows = [
            {
                "name": run.name,
                "state": "stopping" if run.stopping else run.state,
                "done": sum(step.state == "done" for step in run.steps),
                "steps": len(run.steps),
                "step": step.name if (step := running_step(run)) else None,
                "now": _now(step),
                "alarms": num_alarms,
            }
            for run, num_alarms in self._overview.look()
        ]
        return {"runs": _json(rows)}


class _Run:
    def __init__(self, store: Store, controls: Controls, name: str, step: str) -> None:
        self._watch, self._controls, self._name = Watch(store, name, step or None), controls, name
        self._curves, self._drawn, self._rest_until = "", ("", 0), 0.0

    def parts(self) -> Parts:
        look = self._watch.look()
        try:
            control = self._controls.of(self._name)
        except UserError:
            look = None
        if look is None:
            return {"run": _json({"name": self._name, "state": "gone"})}
        return {
            "run": _json({**_run(look, control), "report": (Path(look.run.folder) / REPORT).is_file()}),
            "steps": _json([_step(step, look) for step in look.run.steps[:MOST_STEPS]]),
            "curves": self._curves_of(look),
            "samples": _samples(look),
            "log": _json(log_of(Path(look.run.folder))),
        }

    def _curves_of(self, look: Look) -> str:
        """Drawn anew where there is something new, and not too often."""
        now, used, (drawn_of, version) = time.monotonic(), time.thread_time(), self._drawn
        whose = look.step.folder if look.step else "none"
        if whose != drawn_of or (version != look.version and now >= self._rest_until):
            kind = look.step.kind if look.step else ""
            panels = [_panel(panel) for panel in panels_of(kind, look.rows)]
            step = look.step.name if look.step else None
            self._curves = _json({"step": step, "unit": unit_of(kind), "last": _last(look), "panels": panels})
            self._drawn = (whose, look.version)
            self._rest_until = now + max(CURVES_SECONDS, REST_FACTOR * (time.thread_time() - used))
        return self._curves


def _run(look: Look, control: Control) -> dict[str, Any]:
    run, step = look.run, look.running
    return {
        "name": run.name,
        "state": "stopping" if run.stopping else run.state,
        "by": run.by,
        "done": sum(one.state == "done" for one in run.steps),
        "steps": len(run.steps),
        "step": step.name if step else None,
        "now": _now(step),
        "alarms": [asdict(alarm) for alarm in look.alarms[:MOST_ALARMS]],
        "stop": asdict(control.stop) if control.stop else None,
        "resume": control.resume,
        "why": clean(control.why, 500),
        "ended": control.ended,
    }


def _step(step: StepStatus, look: Look) -> dict[str, Any]:
    num = sum(alarm.step == step.name for alarm in look.alarms)
    shown = look.step is not None and look.step.name == step.name
    detail = step.detail if step.state == "interrupted" else ""
    told = {"name": step.name, "kind": step.kind, "state": step.state, "seconds": step.seconds, "detail": detail}
    return {**told, "alarms": num, "shown": shown}


def _samples(look: Look) -> str:
    """As many as may be sent at once: what is no ASCII is up to twelve times as long as JSON."""
    samples = [asdict(one) for one in look.samples]
    while len(told := _json({"at": look.samples_at, "samples": samples})) > MOST_SENT and samples:
        samples.pop()
    return told


def _now(step: StepStatus | None) -> dict[str, Any] | None:
    """How far the running step is. Silence is told in whole minutes: else each second would be news."""
    doing: Doing | None = step.doing if step else None
    if doing is None:
        return None
    return {
        "label": clean(doing.label, 120),
        "done": doing.done,
        "total": doing.total,
        "unit": clean(doing.unit, 60),
        "left": doing.seconds_left,
        "quiet": None if doing.quiet is None else int(doing.quiet // 60),
    }


def _panel(panel: Panel) -> dict[str, Any]:
    lines = [
        {"name": clean(name, 60), "points": [[float(f"{x:.7g}"), float(f"{y:.5g}")] for x, y in points]}
        for name, points in panel.lines.items()
    ]
    return {"title": panel.title, "share": panel.is_share, "lines": lines}


def _last(look: Look) -> int | None:
    at = number(look.rows[-1].get("iteration")) if look.rows else None
    return None if at is None else int(at)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))

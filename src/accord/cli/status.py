"""status: what the runs are doing, once or over and over."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from accord.cli.common import DEFAULT_STORE, JsonOption, StoreOption, say, user_errors
from accord.printable import printable

if TYPE_CHECKING:
    from accord.status import RunStatus, StepStatus, StoreStatus
    from accord.store.artifacts import Store
    from accord.watch import Look

WATCH_SECONDS: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[2J"


def status(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run's name; without one, all runs.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until the run ends.")] = False,
) -> None:
    """Show what the runs of a store are doing, what goes on with them, and the disk they use.

    Of one run also the last metrics of its running step, and the alarms.
    """
    with user_errors():
        from accord.errors import UserError
        from accord.status import status as look
        from accord.store.artifacts import Store
        from accord.watch import Watch

        if store != DEFAULT_STORE and not store.is_dir():
            remedy = "Name the folder that the run was given with --store."
            raise UserError("there is no store at this place", where=str(store), remedy=remedy)
        if watch:
            if run is None or as_json:
                raise UserError("--watch looks at one run", remedy="Write: accord status RUN --watch, without --json.")
            _watch(Store(store), run)
            return
        found = look(Store(store), run)
        seen = Watch(Store(store), run).look() if run else None
        if as_json:
            say(json.dumps(asdict(found) | (_numbers(seen) if seen else {}), indent=2))
            return
        for line in _status_lines(found, seen, detailed=run is not None or len(found.runs) == 1):
            say(line)


def _watch(store: Store, run: str) -> None:
    """Until the run ends, or Ctrl-C."""
    from accord.status import run_status
    from accord.watch import Watch

    run_status(store, run)  # raises, where there is none
    watched, before, live = Watch(store, run), "", sys.stdout.isatty()
    try:
        while (seen := watched.look()) is not None:
            text = "\n".join(_run_lines(seen.run, seen, detailed=True))
            if live or text != before:
                say(f"{_CLEAR}{text}" if live else text)
            if seen.run.state != "running":
                return
            before = text
            time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _look_lines(seen: Look) -> Iterator[str]:
    """The last metrics, and the alarms."""
    from accord.monitor.curves import last_values, unit_of

    if seen.step is not None and seen.rows:
        values = "  ".join(f"{name} {value:.3g}" for name, value in last_values(seen.step.kind, seen.rows).items())
        at = f"{unit_of(seen.step.kind)} {seen.rows[-1].get('iteration', len(seen.rows))}"
        yield printable(f"{seen.step.name}, {at}: {values}")
    for alarm in seen.alarms:
        since = f", from {alarm.since} on" if alarm.since > 0 else ""
        yield printable(f"alarm: {alarm.step}{since}: {alarm.text}")


def _numbers(seen: Look) -> dict[str, object]:
    from accord.monitor.curves import last_values

    step = seen.step
    metrics = {"step": step.name, **last_values(step.kind, seen.rows)} if step else None
    return {"metrics": metrics, "alarms": [asdict(alarm) for alarm in seen.alarms]}


def _status_lines(found: StoreStatus, seen: Look | None, *, detailed: bool) -> list[str]:
    """seen: a look at the one run that was asked for."""
    lines = [line for run in found.runs for line in _run_lines(run, seen, detailed=detailed)]
    lines += [f"unfinished, of no run: {_step_line(step, 0, 0)}" for step in found.others]
    if not found.runs:
        lines.append("no runs yet")
    gib = [f"{size / 2**30:.1f} GiB" for size in (found.artifacts, found.unused, found.unfinished)]
    lines.append(f"disk: artifacts {gib[0]} (of no run's present plan: {gib[1]}), unfinished work {gib[2]}")
    return lines


def _run_lines(run: RunStatus, seen: Look | None, *, detailed: bool) -> list[str]:
    done = sum(step.state == "done" for step in run.steps)
    asked = ", asked to stop" if run.stopping else ""
    lines = [f"{run.name}: {run.state}{asked}, {done} of {len(run.steps)} steps done"]
    lines += [f"  {line}" for line in (*_step_lines(run, detailed=detailed), *(_look_lines(seen) if seen else ()))]
    if run.state != "done":
        lines.append(f"  {'wait for it, or look again with' if run.state == 'running' else 'go on with'}: {_next(run)}")
    return lines


def _next(run: RunStatus) -> str:
    return f"accord status {run.name}" if run.state == "running" else run.command


def _step_lines(run: RunStatus, *, detailed: bool) -> list[str]:
    steps = [step for step in run.steps if detailed or step.state in ("running", "interrupted", "removed")]
    names, kinds = (max((len(text) for text in texts), default=0) for texts in _words(run))
    return [_step_line(step, names, kinds) for step in steps]


def _words(run: RunStatus) -> tuple[list[str], list[str]]:
    return [step.name for step in run.steps], [step.kind for step in run.steps]


def _step_line(step: StepStatus, name: int, kind: int) -> str:
    from accord.store.progress import clock_time

    took = clock_time(step.seconds) if step.seconds is not None else ""
    return f"{step.name:{name}}  {step.kind:{kind}}  {step.state:11}  {took:>7}  {step.detail}".rstrip()

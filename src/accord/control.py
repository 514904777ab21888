"""Stop a run that another process works on, and go on with one in the background, from a page."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accord.errors import UserError
from accord.printable import printable
from accord.run_folder import LOG, PLAN, RECIPE, recipe_as_run, run_name
from accord.status import run_status
from accord.stopping import Process, ask_to_stop, process_of
from accord.store.artifacts import Store

LOG_LINES: Final = 12  # shown
_LOG_BYTES: Final = 4096
_PROGRAM: Final = "from accord.cli import app; app()"


@dataclass(frozen=True, slots=True)
class Control:
    """What can be done with a run just now. stop: whom to ask to stop. resume: it can be gone on with here. why: why
    neither is offered, where there is something to say. ended: the status of the process that was started here last,
    if it has ended."""

    stop: Process | None
    resume: bool
    why: str = ""
    ended: int | None = None


class Controls:
    """Of the runs of a store. It knows the processes that it has started; they go on when it ends."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._one_at_a_time = threading.Lock()

    def of(self, run: str) -> Control:
        """Raises UserError for a run that is not there."""
        found = run_status(self._store, run)
        started = self._started.get(run)
        ended = started.poll() if started else None
        if found.by is not None:
            process = process_of(Path(found.folder))
            if process is None or not process.is_here:
                return Control(None, False, f"{found.by} works on it: stop it there")
            return Control(None if found.stopping else process, False)
        if started is not None and ended is None:
            return Control(None, False, "it is being started")
        if found.state == "done":
            return Control(None, False, "", ended)
        if found.state == "running":
            return Control(None, False, "its next step is being made by another run: wait for that one", ended)
        try:
            _command(self._store, Path(found.folder))
        except UserError as error:
            return Control(None, False, f"{error.what}. {error.remedy}", ended)
        return Control(None, True, "", ended)

    def stop(self, run: str, expected: Process) -> None:
        """Let the process that works on it save, and end. Raises UserError when it is not asked to."""
        ask_to_stop(Path(run_status(self._store, run).folder), expected)

    def resume(self, run: str) -> None:
        """Go on with a run in a process of its own, which does not end with this one; what it says goes to the run's
        log. Raises UserError when it is not started."""
        with self._one_at_a_time:
            run_dir = Path(run_status(self._store, run).folder)
            if (process := process_of(run_dir)) is not None:
                raise UserError(f"{process} works on the run {run!r} already", remedy="Wait for it, or stop it first.")
            if (started := self._started.get(run)) is not None and started.poll() is None:
                raise UserError(f"the run {run!r} is being started already", remedy="Wait a moment.")
            command, folder = _command(self._store, run_dir)
            try:
                with (run_dir / LOG).open("ab") as log:
                    log.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')}: gone on with from a page\n".encode())
                    log.flush()
                    self._started[run] = subprocess.Popen(
                        command,
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,  # Ctrl-C and the end of this process do not reach it
                    )
            except OSError as error:
                what = f"the run {run!r} could not be started: {error.strerror}"
                raise UserError(what, where=str(run_dir), remedy="Start it in a terminal.") from error


def log_of(run_dir: Path) -> list[str]:
    """The last lines of a run's log, made safe; none where it was never started from a page."""
    try:
        with (run_dir / LOG).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [printable(line) for line in text.strip().splitlines()[-LOG_LINES:]]


def _command(store: Store, run_dir: Path) -> tuple[list[str], Path]:
    """What goes on with a run, and in which folder. Raises UserError for one that cannot be gone on with from here."""
    by_hand = "Go on with it where it was started."
    plan = _plan(run_dir)
    if plan["host"] != socket.gethostname():
        raise UserError(f"it was started on {plan['host']}", remedy="Go on with it there.")
    folder = Path(plan["folder"])
    recipe = folder / plan["recipe"]
    if not recipe.is_file():
        what = f"its recipe {str(recipe)!r} is not there: it was started from Python, or the file was moved"
        raise UserError(what, remedy=by_hand)
    if run_name(recipe) != run_dir.name:
        raise UserError("it is one of several with this recipe, such as those of a sweep", remedy=by_hand)
    try:
        now = recipe_as_run(recipe.read_text(encoding="utf-8-sig"), plan["overrides"])
        same = now == (run_dir / RECIPE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"its recipe {str(recipe)!r} cannot be read", remedy=by_hand) from error
    if not same:
        what = f"its recipe {str(recipe)!r} was changed since"
        raise UserError(what, remedy="Start it in a terminal: what depends on the change runs again.")
    sets = [word for override in plan["overrides"] for word in ("--set", override)]
    command = [sys.executable, "-P", "-c", _PROGRAM, "run", str(recipe), *sets, "--store", str(store.root.resolve())]
    return command, folder


def _plan(run_dir: Path) -> dict[str, Any]:
    try:
        plan: dict[str, Any] = json.loads((run_dir / PLAN).read_bytes())
        {key: plan[key] for key in ("recipe", "overrides", "folder", "host")}
    except (OSError, ValueError, LookupError, TypeError) as error:
        what = "where it was started is not known, as an earlier version did not write it down"
        raise UserError(what, remedy="Go on with it in a terminal.") from error
    return plan

"""A run is asked to stop: by Ctrl-C, or from outside by the same signal.

The first signal lets the running step save and end, a second one ends it at once. So nobody sends one to a process that
has had one, whoever sent it: the number of such a process stands in a file beside the run's lock.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from accord.errors import UserError
from accord.run_folder import lock_of, stopping_of
from accord.store import atomic
from accord.store.lock import holder

_ONE_AT_A_TIME: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Process:
    """Who works on a run."""

    pid: int
    host: str

    @property
    def is_here(self) -> bool:
        """Whether it is one of this machine."""
        return self.host == socket.gethostname()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@contextmanager
def stop_on_sigint(note: Path | None = None) -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, a second raises KeyboardInterrupt. Outside the main thread it does nothing.

    note: the file that says that this process was asked to stop. It is gone afterwards.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # print() may be in the middle of a line just now, and cannot be entered twice.
        os.write(2, b"\nstopping at the next safe point; Ctrl-C again to stop at once\n")
        if note is not None:
            _write_note(note, os.getpid())

    if note is not None:  # of a process of the same number, which was killed before it could remove it
        with suppress(OSError):
            note.unlink(missing_ok=True)
    former = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)
        if note is not None:
            with suppress(OSError):
                note.unlink(missing_ok=True)


def process_of(run_dir: Path) -> Process | None:
    """Who works on a run, by its lock; None when nobody does, or does not say so. Writes nothing.

    Of another machine's process it is not known whether it still lives.
    """
    words = (holder(lock_of(run_dir)) or "").split()
    if len(words) != 4 or not words[1].isdecimal():
        return None
    return Process(int(words[1]), words[3])


def is_stopping(run_dir: Path, process: Process) -> bool:
    """Whether this process was asked to stop."""
    try:
        return stopping_of(run_dir).read_text(encoding="ascii", errors="replace").strip() == str(process.pid)
    except OSError:
        return False


def ask_to_stop(run_dir: Path, expected: Process) -> None:
    """Let the process that works on a run save, and end. expected: who was seen to work on it.

    The signal goes to a process that has the run's lock open, and to no other. Raises UserError when it is not sent.
    """
    name = repr(run_dir.name)
    if not expected.is_here:
        what = f"the run {name} is worked on by {expected}"
        raise UserError(what, remedy="Stop it on that machine: with Ctrl-C where it was started, or with kill -INT.")
    with _ONE_AT_A_TIME:
        if process_of(run_dir) != expected:
            what = f"{expected} does not work on the run {name} any more"
            raise UserError(what, remedy="Look again at what it does now.")
        if is_stopping(run_dir, expected):
            what = f"{expected} was asked to stop before, and does so at its next safe point"
            raise UserError(what, remedy="A second Ctrl-C where it was started stops it at once.")
        process = _owner(run_dir, expected)
        note = stopping_of(run_dir)
        _write_note(note, expected.pid)
        try:
            process.send_signal(signal.SIGINT)  # and not when the number is another process's by now
        except (psutil.Error, OSError) as error:
            note.unlink(missing_ok=True)
            raise _unreachable(run_dir, expected) from error


def _owner(run_dir: Path, expected: Process) -> psutil.Process:
    """The process of this number, which has the run's lock open. Raises UserError."""
    try:
        process = psutil.Process(expected.pid)
        lock = os.stat(lock_of(run_dir))
        if any(_is(file.path, lock) for file in process.open_files()):
            return process
    except (psutil.Error, OSError) as error:
        raise _unreachable(run_dir, expected) from error
    raise _unreachable(run_dir, expected)


def _is(path: str, other: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.stat(path), other)
    return False


def _unreachable(run_dir: Path, process: Process) -> UserError:
    return UserError(
        f"it cannot be made sure that {process} is the one that works on the run {run_dir.name!r}, and so it was not "
        "asked to stop",
        remedy="It may be another user's, or in a container of its own. Press Ctrl-C where it was started.",
    )


def _write_note(note: Path, pid: int) -> None:
    """At once: who asks reads it while the process that is asked writes it, too."""
    with suppress(UserError):
        atomic.write_text(note, str(pid))

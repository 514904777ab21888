"""Locks between processes that die with the process that holds them."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from accord.errors import UserError
from accord.store import atomic

_BELIEVED = 0.5  # seconds that a lock has to be held before it is believed
_LOOK_SECONDS = 0.05
_SILENT = 2.0  # seconds of waiting, after which what is waited for is said
_OUTLIVES = 60.0  # seconds at most that a process which writes is given to end after the one that started it
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_NONE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # such as Lustre without -o flock


@contextmanager
def lock(path: Path, what: str, *, wait: bool = False, patience: float = _BELIEVED) -> Iterator[None]:
    """Hold `path` as a lock. With `wait` stay until it is free, else raise UserError saying who holds `what`, after so
    many seconds.

    The lock is the kernel's (flock), not the file's existence: a killed process leaves none behind. It holds between
    the processes of one machine, and between machines where the file system passes flock on.
    """
    with atomic.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with atomic.disk_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _acquire(descriptor, path, what, wait, patience)
            if not _is_current(descriptor, path):
                continue  # the former holder removed this file between our open and our lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def writing(folder: Path, what: str, patience: float = _OUTLIVES) -> AbstractContextManager[None]:
    """Held by the one process that writes into a step's work folder. The step's own lock is held by who started the
    run, and is free once that one is killed; a worker of a cluster may then still write a checkpoint, and is waited for
    so many seconds. Raises UserError when it is still there."""
    return lock(folder.with_name(f"{folder.name}.writing.lock"), what, patience=patience)


def holder(path: Path) -> str | None:
    """Who holds a lock, by what its file says; None when nobody does. Writes nothing.

    Of another machine's process it is not known whether it still lives.
    """
    try:
        with path.open("rb") as file:
            said = file.read(200).decode(errors="replace")
            held = _is_held(file.fileno())
    except OSError:
        return None
    words = said.split()
    elsewhere = len(words) == 4 and words[3] != socket.gethostname()
    return (said or "another process") if held or elsewhere else None


def _is_held(descriptor: int) -> bool:
    """Asks the kernel, as the number of a process that is gone may be another one's by now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _HELD
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _acquire(descriptor: int, path: Path, what: str, wait: bool, patience: float) -> None:
    """Who only looks at a lock has it shared for a moment (`holder`): that is waited for. What takes longer is said,
    once."""
    for look in range(max(1, round(patience / _LOOK_SECONDS))):
        if look == round(_SILENT / _LOOK_SECONDS):
            by = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
            most = f"for at most {patience:.0f} seconds"
            print(f"{what}: waiting {most} until {by} has ended, which still writes to it", file=sys.stderr, flush=True)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            return
        except OSError as error:
            if error.errno in _NONE:
                raise UserError(
                    f"this file system has no locks between processes: {error.strerror}",
                    where=str(path),
                    remedy="Mount it with them (Lustre: -o flock), or name a store on another one with --store.",
                ) from error
            if error.errno not in _HELD:
                raise
        time.sleep(_LOOK_SECONDS)
    holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
    raise UserError(
        f"{what} is being worked on by {holder}",
        where=str(path),
        remedy="Wait until it is done, or stop that process, and run the same command again.",
    )


def _is_current(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False

"""Processes that compute a step: what is asked of them wherever they are, and those on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from accord.cluster.assignment import Assignment, Outcome

_TAIL = 2000  # characters of what a worker has said that are shown when it is gone


class Workers(Protocol):
    """One for each assignment, in the order of these."""

    def poll(self) -> list[Outcome | None]:
        """How each ended; None of one that is at work. Of one that is gone without a word it says that it failed."""
        ...

    def name(self, rank: int) -> str:
        """What to call it: where it is, and its number there."""
        ...

    def close(self) -> None:
        """Ends all that are at work, at once."""
        ...


class LocalWorkers:
    """Processes of this machine. What the leading one shows goes to where this one's goes."""

    def __init__(self, assignments: Sequence[Assignment]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="accord-workers-")
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for assignment in assignments:
                self._processes.append(self._start(assignment))
        except BaseException:
            self.close()
            raise

    def _start(self, assignment: Assignment) -> subprocess.Popen[str]:
        environment = {**os.environ, **assignment.environment}
        if sys.platform == "linux":
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else is to connect
        command = [sys.executable, "-m", "accord.cluster.worker", str(self._outcome(assignment.rank))]
        with self._log(assignment.rank).open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=None if assignment.rank == 0 else log,
                text=True,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for the one who started them
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it is gone already, which `poll` will see
            process.stdin.write(assignment.to_json() + "\n")
            process.stdin.flush()
        return process

    def poll(self) -> list[Outcome | None]:
        return [self._ended(rank) for rank in range(len(self._processes))]

    def _ended(self, rank: int) -> Outcome | None:
        code = self._processes[rank].poll()
        if code is None:
            return None
        with suppress(OSError, ValueError):
            return Outcome.from_json(self._outcome(rank).read_text(encoding="utf-8"))
        how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
        tail = self._log(rank).read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
        return Outcome("failed", f"it {how}", trace=tail)

    def name(self, rank: int) -> str:
        return f"process {self._processes[rank].pid}"

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait()
            if process.stdin is not None:
                with suppress(OSError):
                    process.stdin.close()
        self._folder.cleanup()

    def _outcome(self, rank: int) -> Path:
        return Path(self._folder.name) / f"outcome-{rank}.json"

    def _log(self, rank: int) -> Path:
        return Path(self._folder.name) / f"log-{rank}.txt"

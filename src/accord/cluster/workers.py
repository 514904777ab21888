"""Processes that compute a step: what is asked of them wherever they are, and those on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from accord.cluster.assignment import Assignment, Outcome
from accord.errors import UserError
from accord.machine import usable_processors
from accord.placement import Cluster
from accord.steps.base import PlannedStep

PROGRAM = "accord.cluster.worker"
_TAIL = 2000  # characters of what a worker has said that are shown when it is gone


class Workers(Protocol):
    """Each computes one step after another, all the same one."""

    def assign(self, step: PlannedStep, settings: Mapping[str, Any]) -> None:
        """Sets all to work. settings: what an `Assignment` has beside the step, and they do not know themselves."""
        ...

    def poll(self) -> list[Outcome | None]:
        """How each ended, by rank; None of one that is at work. Of one that is gone it says that it failed."""
        ...

    def name(self, rank: int) -> str:
        """What to call it: where it is, and its number there."""
        ...

    def close(self) -> None:
        """Ends all, at once."""
        ...


class LocalWorkers:
    """Processes of this machine. What the leading one shows goes to where this one's goes."""

    def __init__(self, cluster: Cluster) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="accord-workers-")
        self._path = Path(self._folder.name)
        self._size = cluster.workers or 1
        self._on_gpu = cluster.gpus_per_worker
        if self._on_gpu is None:
            self._on_gpu = int(os.environ.get("ACCORD_DEVICE", "").startswith("cuda"))
        self._gpus = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        if self._on_gpu and self._gpus and len(self._gpus) < self._size:
            raise UserError(
                f"there are to be {self._size} workers, and CUDA_VISIBLE_DEVICES names {len(self._gpus)} GPUs",
                where="cluster.workers",
                remedy="Lower cluster.workers, or name as many GPUs.",
            )
        self._number = -1  # of the assignment
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for rank in range(self._size):
                self._processes.append(self._start(rank))
        except BaseException:
            self.close()
            raise

    def _start(self, rank: int) -> subprocess.Popen[str]:
        environment = dict(os.environ)
        if sys.platform == "linux":
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else is to connect
        if self._on_gpu:
            environment |= {
                "ACCORD_DEVICE": "cuda",
                "CUDA_VISIBLE_DEVICES": self._gpus[rank] if self._gpus else str(rank),
            }
        with self._log(rank).open("w", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-m", PROGRAM, str(self._path), str(rank)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=None if rank == 0 else log,
                text=True,
                env=environment,
                start_new_session=True,  # a Ctrl-C is for the one who started them
            )

    def assign(self, step: PlannedStep, settings: Mapping[str, Any]) -> None:
        self._number += 1
        threads = None if "OMP_NUM_THREADS" in os.environ else max(1, usable_processors() // self._size)
        meeting = f"file://{self._path}/store-{self._number}"
        for rank, process in enumerate(self._processes):
            one = Assignment.of(step, rank=rank, size=self._size, threads=threads, rendezvous=meeting, **settings)
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it is gone already, which `poll` will see
                process.stdin.write(one.to_json() + "\n")
                process.stdin.flush()

    def poll(self) -> list[Outcome | None]:
        return [self._outcome(rank) for rank in range(self._size)]

    def _outcome(self, rank: int) -> Outcome | None:
        code = self._processes[rank].poll()
        with suppress(OSError, ValueError):
            path = self._path / f"outcome-{rank}-{self._number}.json"
            return Outcome.from_json(path.read_text(encoding="utf-8"))
        if code is None:
            return None
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

    def _log(self, rank: int) -> Path:
        return self._path / f"log-{rank}.txt"

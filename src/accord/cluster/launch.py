"""Steps run by several workers: set to work together, watched, and ended together when one of them fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from accord.cluster.assignment import Outcome
from accord.cluster.workers import LocalWorkers, Workers
from accord.errors import Interrupted, UserError
from accord.placement import Cluster
from accord.steps.base import PlannedStep
from accord.store.artifacts import Artifact, Store

_GRACE: Final = 10.0  # seconds that the cause of a failure may come after what it caused in others
_POLL: Final = 0.1
_TELL: Final = 1.0  # seconds between two looks at what the workers have written


class Team:
    """The workers of a run, started with the first step that they compute; they end with it, or when one fails."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._workers: Workers | None = None

    def start(self) -> None:
        """Before the first step, unless they were. Raises UserError when there cannot be so many workers."""
        if self._workers is None:
            self._workers = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def run(
        self,
        step: PlannedStep,
        store: Store,
        folder: Path,
        *,
        stop: Callable[[], bool],
        min_checkpoint_seconds: float,
        meanwhile: Callable[[], None],
    ) -> Artifact:
        """Computes the step, and returns its artifact. The lock on `folder`, where it is worked on, is the caller's.
        meanwhile: called about once a second.

        Raises UserError for what a worker refuses, and for one that is gone or does not answer; Interrupted after a
        stop.
        """
        file = folder.with_name(f"{folder.name}.stop")
        file.unlink(missing_ok=True)
        settings: dict[str, Any] = {
            "timeout": self._cluster.timeout,
            "sharding": self._cluster.sharding,
            "recompute": self._cluster.activation_checkpointing,
            "cpu_offload": self._cluster.cpu_offload,
            "directory": os.getcwd(),
            "store": os.fspath(store.root.resolve()),
            "work": os.fspath(folder.resolve()),
            "stop": os.fspath(file.resolve()),
            "min_checkpoint_seconds": min_checkpoint_seconds,
        }
        try:
            self.start()
            assert self._workers is not None
            self._workers.assign(step, settings)
            _watch(step, self._workers, stop, file, self._cluster.timeout, meanwhile)
        except BaseException:
            self._close()
            raise
        finally:
            file.unlink(missing_ok=True)
        artifact = store.find(step.kind, step.key)
        assert artifact is not None, "the leading worker has published it"
        return artifact

    def _started(self) -> Workers:
        if self._cluster.kind == "local":
            return LocalWorkers(self._cluster)
        from accord.cluster.ray_workers import RayWorkers

        return RayWorkers(self._cluster)

    def _close(self) -> None:
        if self._workers is not None:
            self._workers.close()
            self._workers = None


def _watch(
    step: PlannedStep,
    workers: Workers,
    stop: Callable[[], bool],
    file: Path,
    timeout: float,
    meanwhile: Callable[[], None],
) -> None:
    """Until all are done. Raises what `Team.run` does."""
    first: float | None = None  # when one ended otherwise
    looked = time.monotonic()
    while True:
        if time.monotonic() - looked > _TELL:
            meanwhile()
            looked = time.monotonic()
        if stop() and not file.exists():
            file.touch()
        outcomes = workers.poll()
        if all(outcome is not None and outcome.how == "done" for outcome in outcomes):
            return
        if outcomes[0] is not None and outcomes[0].how == "interrupted":
            raise Interrupted
        others = ("done", "interrupted")  # those who follow are interrupted while the leading one still saves
        ended = {rank: one for rank, one in enumerate(outcomes) if one is not None and one.how not in others}
        if ended and first is None:
            first = time.monotonic()
        cause = next((rank for rank, one in ended.items() if one.how in ("refused", "failed")), None)
        if cause is not None:
            raise _error(step, workers, cause, ended[cause])
        if first is not None and time.monotonic() - first > _GRACE:
            raise _lost(step, workers, outcomes, timeout)
        time.sleep(_POLL)


def _error(step: PlannedStep, workers: Workers, rank: int, outcome: Outcome) -> UserError:
    if outcome.how == "refused":
        return UserError(outcome.what, where=outcome.where, remedy=outcome.remedy)
    said = f"\n{outcome.trace}" if outcome.trace else ""
    return UserError(
        f"worker {rank} ({workers.name(rank)}) has failed: {outcome.what}{said}",
        where=step.name,
        remedy="All workers of the step were ended. The same command goes on from its last checkpoint.",
    )


def _lost(step: PlannedStep, workers: Workers, outcomes: Sequence[Outcome | None], timeout: float) -> UserError:
    """Some gave up waiting for others."""
    silent = [f"{rank} ({workers.name(rank)})" for rank, outcome in enumerate(outcomes) if outcome is None]
    rank, left = next((rank, one) for rank, one in enumerate(outcomes) if one is not None and one.how == "left")
    told = f"worker {rank} says: {left.what}"
    if not silent:
        what = f"the workers lost each other; {told}"
    else:
        who = f"worker{'s' if len(silent) > 1 else ''} {', '.join(silent)}"
        what = f"{who} did not answer within {timeout:g} s, while others waited; {told}"
    return UserError(
        what,
        where=step.name,
        remedy="All workers of the step were ended. The same command goes on from its last checkpoint. If they need "
        "longer between two exchanges, raise cluster.timeout.",
    )

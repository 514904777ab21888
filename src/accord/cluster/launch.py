"""A step run by several workers: started together, watched, and ended together when one of them fails."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from accord.cluster.assignment import Assignment, Outcome
from accord.cluster.workers import LocalWorkers, Workers
from accord.errors import Interrupted, UserError
from accord.machine import usable_processors
from accord.placement import Cluster
from accord.steps.base import PlannedStep
from accord.store.artifacts import Artifact, Store

_GRACE = 10.0  # seconds that the cause of a failure may come after what it caused in others
_POLL = 0.1


def run_together(
    step: PlannedStep,
    store: Store,
    folder: Path,
    cluster: Cluster,
    *,
    stop: Callable[[], bool],
    min_checkpoint_seconds: float,
) -> Artifact:
    """Runs the step on the cluster's workers, and returns its artifact. The lock on `folder` is the caller's.

    Raises UserError for what a worker refuses, and for one that is gone or does not answer; Interrupted after a stop.
    """
    file = folder.with_name(f"{folder.name}.stop")
    file.unlink(missing_ok=True)
    settings: dict[str, Any] = {
        "timeout": cluster.timeout,
        "sharding": cluster.sharding,
        "store": os.fspath(store.root.resolve()),
        "work": os.fspath(folder.resolve()),
        "stop": os.fspath(file.resolve()),
        "min_checkpoint_seconds": min_checkpoint_seconds,
    }
    try:
        if cluster.kind == "local":
            with tempfile.TemporaryDirectory(prefix="accord-rendezvous-") as meeting:
                settings["rendezvous"] = f"file://{meeting}/store"
                _watch(step, LocalWorkers(_local(step, cluster, settings)), stop, file, cluster.timeout)
        else:
            from accord.cluster.ray_workers import RayWorkers

            _watch(step, RayWorkers(step, cluster, settings), stop, file, cluster.timeout)
    finally:
        file.unlink(missing_ok=True)
    artifact = store.find(step.kind, step.key)
    assert artifact is not None, "the leading worker has published it"
    return artifact


def _local(step: PlannedStep, cluster: Cluster, settings: dict[str, Any]) -> list[Assignment]:
    size = cluster.workers or 1
    threads = None if "OMP_NUM_THREADS" in os.environ else max(1, usable_processors() // size)
    on_gpu = cluster.gpus_per_worker or (cluster.gpus_per_worker is None and _asks_for_gpu())
    return [
        Assignment.of(
            step,
            rank=rank,
            size=size,
            threads=threads,
            environment={"ACCORD_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": str(rank)} if on_gpu else {},
            **settings,
        )
        for rank in range(size)
    ]


def _asks_for_gpu() -> bool:
    return os.environ.get("ACCORD_DEVICE", "").startswith("cuda")


def _watch(step: PlannedStep, workers: Workers, stop: Callable[[], bool], file: Path, timeout: float) -> None:
    """Until all are done. Raises what `run_together` does."""
    first: float | None = None  # when one ended otherwise
    try:
        while True:
            if stop() and not file.exists():
                file.touch()
            outcomes = workers.poll()
            if all(outcome is not None and outcome.how == "done" for outcome in outcomes):
                return
            if outcomes[0] is not None and outcomes[0].how == "interrupted":
                raise Interrupted
            ended = {rank: one for rank, one in enumerate(outcomes) if one is not None and one.how != "done"}
            if ended and first is None:
                first = time.monotonic()
            cause = next((rank for rank, one in ended.items() if one.how in ("refused", "failed")), None)
            if cause is not None:
                raise _error(step, workers, cause, ended[cause])
            if first is not None and time.monotonic() - first > _GRACE:
                raise _lost(step, workers, outcomes, timeout)
            time.sleep(_POLL)
    finally:
        workers.close()


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
    told = next(outcome.what for outcome in outcomes if outcome is not None and outcome.how == "left")
    if not silent:
        what = f"the workers lost each other: {told}"
    else:
        who = f"worker{'s' if len(silent) > 1 else ''} {', '.join(silent)}"
        what = f"{who} did not answer within {timeout:g} s, while others waited"
    return UserError(
        what,
        where=step.name,
        remedy="All workers of the step were ended. The same command goes on from its last checkpoint. If they need "
        "longer between two exchanges, raise cluster.timeout.",
    )

"""A worker that something happens to in the step `rloo`, as ACCORD_TEST_FAULT says: PLACE:RANK:WHAT:CALL,
`sampling:1:kill:2`. At the place `reading`, in the step `accuracy`, every batch takes two seconds (`slow`), in all
workers. At the place `saving` it is that every save takes two seconds (`slow`), or that the disk is full
from the learner's file on that is written at that call (`full`). Where the place is a kind of step,
`sample:1:kill:2`, it happens in a step of this kind, within a rollout, when the first of its responses have ended; the
step's pieces are small."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from accord.cluster import worker
from accord.cluster.assignment import Assignment, Outcome
from accord.models.scalar import ScalarModel
from accord.steps import rejecting, sample
from accord.store import atomic
from accord.store.workspace import Workspace

PLACES = {"sampling": "roll_out", "scoring": "score", "learning": "update"}


def perform(assignment: Assignment) -> Outcome:
    """As `worker.perform`, with the fault."""
    place, rank, what, call = os.environ.get("ACCORD_TEST_FAULT", ":::").split(":")
    known = (*PLACES, "saving")
    if place == "reading" and assignment.kind == "accuracy":
        with patch.object(ScalarModel, "scores", slow(ScalarModel.scores)):
            return worker_perform(assignment)
    if assignment.kind != ("rloo" if place in known else place):
        return worker_perform(assignment)
    from accord.engine.on_policy import drawing, loop  # by all: who imports alone comes late, a fault of its own

    with ExitStack() as patched:
        if place not in known:
            for module in (sample, rejecting):
                patched.enter_context(patch.object(module, "CHUNK", 16))
        if str(assignment.rank) == rank:
            patched.enter_context(_fault(drawing if place == "sampling" else loop, place, what, int(call)))
        return worker_perform(assignment)


def _fault(of_loop: ModuleType, place: str, what: str, call: int) -> AbstractContextManager[Any]:
    if what == "full":
        return patch.object(atomic.files, "write", full(atomic.files.write, call))
    if place == "saving":
        return patch.object(Workspace, "_save", slow(Workspace._save))
    from accord.engine import rollout

    module, name = (of_loop, PLACES[place]) if place in PLACES else (rollout, "roll_out")
    wrapped: Callable[..., Any] = getattr(module, name)
    calls = 0

    def faulty(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            if place in PLACES:
                happen(what)
            named["advance"] = lambda _: happen(what)
        return wrapped(*given, **named)

    return patch.object(module, name, faulty)


def full(write: Callable[..., Any], call: int) -> Callable[..., Any]:
    calls = 0

    def written(path: Path, writer: Callable[[Path], Any]) -> None:
        nonlocal calls
        calls += path.name == "policy.safetensors"
        write(Path("/dev/full") if calls >= call else path, writer)

    return written


def slow(work: Callable[..., Any]) -> Callable[..., Any]:
    def worked(*given: Any) -> Any:
        time.sleep(2)
        return work(*given)

    return worked


def happen(what: str) -> None:
    if when := os.environ.get("ACCORD_TEST_FAULT_SEEN"):  # a file of this time
        Path(when).touch()
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "hang":
        time.sleep(10_000)
    raise ZeroDivisionError("a fault of the test's")


worker_perform = worker.perform

if __name__ == "__main__":
    worker.perform = perform
    worker.main()

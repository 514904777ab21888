"""A worker that something happens to, as ACCORD_TEST_FAULT says: PLACE:RANK:WHAT:CALL, `sampling:1:kill:2`. At the
place `saving` it is that every save takes two seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from accord.cluster import worker
from accord.cluster.assignment import Assignment, Outcome
from accord.store.workspace import Workspace

PLACES = {"sampling": "roll_out", "scoring": "score", "learning": "update"}


def perform(assignment: Assignment) -> Outcome:
    """As `worker.perform`, with the fault."""
    place, rank, what, call = os.environ.get("ACCORD_TEST_FAULT", ":::").split(":")
    if assignment.kind != "rloo" or str(assignment.rank) != rank:
        return worker_perform(assignment)
    if place == "saving":
        with patch.object(Workspace, "_save", slow(Workspace._save)):
            return worker_perform(assignment)
    from accord.engine.on_policy import drawing, loop

    name, calls = PLACES[place], 0
    module = drawing if place == "sampling" else loop

    def faulty(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(call):
            happen(what)
        return wrapped(*given, **named)

    wrapped: Callable[..., Any] = getattr(module, name)
    with patch.object(module, name, faulty):
        return worker_perform(assignment)


def slow(save: Callable[..., Any]) -> Callable[..., Any]:
    def saved(*given: Any) -> None:
        time.sleep(2)
        save(*given)

    return saved


def happen(what: str) -> None:
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "hang":
        time.sleep(10_000)
    raise ZeroDivisionError("a fault of the test's")


worker_perform = worker.perform

if __name__ == "__main__":
    worker.perform = perform
    worker.main()

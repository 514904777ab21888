"""What a sweep has cost: each step once, however many runs share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from accord.costs import costs_of
from accord.monitor.cost import Assumptions, in_words, total_of
from accord.store.artifacts import Store
from accord.sweep.grid import PlannedRun


def spent(runs: Sequence[PlannedRun], store: Store) -> dict[str, Any]:
    """Of the steps that are in the store: the numbers, and `said`, in words. Empty where no step has an account."""
    steps = {step.key: step for run in runs for step in run.plan.steps}
    known = costs_of([store.folder(step.kind, step.key) for step in steps.values()], Assumptions.of())
    total = total_of(known)
    return {**asdict(total), "said": in_words(total)} if total.how else {}

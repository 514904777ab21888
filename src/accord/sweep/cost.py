"""What a sweep will take: the steps that are not in the store, each once, however many runs share it."""

from __future__ import annotations

from accord.errors import UserError
from accord.estimate.check import check
from accord.estimate.limits import FORCE, gib
from accord.estimate.rows import Row
from accord.status import num_bytes
from accord.steps.base import Registry
from accord.store.artifacts import Store
from accord.store.progress import clock_time
from accord.sweep.grid import PlannedRun, label_of

MAX_ESTIMATED = 12  # settings; each takes some seconds


def estimate(runs: list[PlannedRun], registry: Registry, store: Store, *, force: bool = False) -> str:
    """A line on the number of runs and steps, and, unless there are very many settings, on time and disk.

    Each setting is estimated with one seed. Raises UserError, unless `force`, when all will not fit on the disk.
    """
    plans = {label_of(run.setting): run.plan for run in reversed(runs)}
    steps = {step.key: step for run in runs for step in run.plan.steps}
    missing = {key for key, step in steps.items() if not store.has(step.kind, step.key)}
    said = f"{len(runs)} runs of {len(plans)} settings: {len(missing)} steps to make, of {len(steps)}"
    if not missing or len(plans) > MAX_ESTIMATED or not any(registry[step.kind].work for step in steps.values()):
        return said
    seconds: dict[str, float | None] = {}
    disk: dict[str, int] = {}
    free = 0
    rows: dict[str, dict[str, Row]] = {}
    for label, plan in plans.items():
        checked = check(plan, registry, store)
        free = checked.free_disk
        rows[label] = {row.step.name: row for row in checked.estimate.rows}
    for run in runs:
        for step in run.plan.steps:
            if step.key in missing and step.key not in seconds:
                row = rows[label_of(run.setting)][step.name]
                seconds[step.key], disk[step.key] = row.seconds, row.kept or _written(row, store)
    total = sum(disk.values())
    known = [one for one in seconds.values() if one is not None]
    time = f"about {clock_time(sum(known))}, " if len(known) == len(seconds) else ""
    if total > free and not force:
        raise UserError(
            f"the sweep will write about {gib(total)}, and {gib(free)} are free",
            where=str(store.root),
            remedy="Take fewer values or seeds, free some space, or name a store on another disk with --store. "
            + FORCE,
        )
    return f"{said}; {time}{gib(total)} of disk ({gib(free)} are free)"


def _written(row: Row, store: Store) -> int:
    """The bytes of a step of one seed that is in the store, for those of others that are not."""
    return num_bytes(store.folder(row.step.kind, row.step.key)) if row.cached else 0

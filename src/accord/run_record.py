"""What a run's folder says of it: plan.json and links to what is done, after each step and where it stopped."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accord.errors import Interrupted, UserError, Waiting
from accord.plan import INTERNAL, Plan
from accord.rounds import Round
from accord.run_folder import PLAN, RECIPE, recipe_as_run
from accord.steps.base import PlannedStep
from accord.store import atomic
from accord.store.artifacts import Artifact, Store

STOPPED: Final = "stopped"  # in plan.json, of a run that is not finished: the step, and why


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step that is done. seconds: of work when it was made, perhaps by an earlier run. cached: not by this one."""

    name: str
    kind: str
    config: dict[str, Any]
    key: str
    seconds: float
    cached: bool
    artifact: Artifact


def write_run(
    run_dir: Path,
    store: Store,
    plan: Plan,
    records: Sequence[StepRecord],
    stopped: Mapping[str, str] | None = None,
) -> None:
    """Bring the run's folder up to date: after each step it shows what is done so far. stopped: as `stopped_at` has
    it."""
    links = run_dir / "steps"
    with atomic.disk_errors(run_dir):
        links.mkdir(parents=True, exist_ok=True)
        for record in records:
            atomic.link(links / record.name, record.artifact.path)
        names = {record.name for record in records}
        for stale in links.iterdir():
            if stale.is_symlink() and stale.name not in names:
                stale.unlink()
    recipe = plan.recipe
    atomic.write_text(run_dir / RECIPE, recipe_as_run(recipe.text, recipe.overrides))
    done = {record.name: record for record in records}
    rows = [_plan_row(step, plan.rounds.get(step.name), done.get(step.name), store) for step in plan.steps]
    frame: dict[str, Any] = {"recipe": str(recipe.path), "overrides": list(recipe.overrides), "seed": recipe.seed}
    frame |= {"folder": os.path.abspath("."), "host": socket.gethostname()}  # where it was started
    if stopped is not None:
        frame[STOPPED] = dict(stopped)
    atomic.write_json(run_dir / PLAN, {**frame, "steps": rows})


def stopped_at(step: str, error: BaseException) -> dict[str, str]:
    """What plan.json says of the step that a run was at when `error` ended it.

    >>> stopped_at("ppo", Interrupted())
    {'step': 'ppo', 'why': 'it was asked to stop'}
    >>> stopped_at("ppo", SystemExit())["why"]
    'SystemExit'
    """
    if isinstance(error, UserError):
        why = str(UserError(error.what, where=error.where))
    elif isinstance(error, Waiting):
        why = f"it waits: {error}"
    elif isinstance(error, Interrupted | KeyboardInterrupt):
        why = "it was asked to stop"
    else:
        said = str(error).strip().partition("\n")[0]
        why = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return {"step": step, "why": why}


def unfinished(plan: Mapping[str, Any], runs: bool) -> str:
    """Where a run stands that is not finished, in sentences; "" for one that is. plan: its plan.json. runs: whether a
    process works on it."""
    steps = [(row["name"], bool(row["artifact"])) for row in plan["steps"] if row["kind"] not in INTERNAL]
    done, left = ([name for name, made in steps if made is wanted] for wanted in (True, False))
    first = next((row["name"] for row in plan["steps"] if not row["artifact"]), None)
    if first is None:
        return ""
    note = plan.get(STOPPED)
    told = f"This run is not finished: {len(done)} of its {len(steps)} steps are done. "
    if isinstance(note, Mapping) and {"step", "why"} <= note.keys():
        told += f"It stopped at {note['step']!r} ({note['why']})."
    else:
        told += f"It is at {first!r}." if runs else f"It stopped at {first!r}."
    return f"{told} To come: {', '.join(left)}." if left else told


def _plan_row(step: PlannedStep, of: Round | None, record: StepRecord | None, store: Store) -> dict[str, Any]:
    return {
        "name": step.name,
        "kind": step.kind,
        "round": of.number if of else None,
        "key": step.key,
        "seed": step.seed,
        "config": step.config_json(),
        "seconds": record.seconds if record else None,
        "cached": record.cached if record else None,
        "artifact": record.artifact.path.relative_to(store.root).as_posix() if record else None,
    }

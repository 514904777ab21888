"""What the runs of a store are doing: steps that are done, that run, that were interrupted; and the disk used."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accord.errors import UserError, did_you_mean
from accord.run_folder import PLAN
from accord.stopping import is_stopping, process_of
from accord.store.artifacts import Store
from accord.store.digests import MANIFEST
from accord.store.lock import holder
from accord.store.progress import clock_time
from accord.store.workspace import PROGRESS

State = Literal["done", "running", "interrupted", "to run", "removed"]

# What checkpoints of a step count; of other kinds they count what nobody sees.
_UNITS = {
    **dict.fromkeys(("ppo", "rloo", "grpo", "online_dpo"), "iteration"),
    **dict.fromkeys(("sft", "reward", "reject", "dpo", "kto"), "optimizer step"),
}
_QUIET_SECONDS = 60.0  # without news, after which that is worth a word


@dataclass(frozen=True, slots=True)
class Doing:
    """What a running step says of itself. label: what it does, such as "ppo" or "reject: sampling". seconds_left: None
    before it can be known. shown: the last values on its line. written: when it said so, in seconds since 1970."""

    label: str
    done: int
    total: int
    unit: str
    seconds_left: float | None
    shown: Mapping[str, float | str]
    written: float

    @property
    def quiet(self) -> float | None:
        """Seconds without news, where that is worth a word."""
        seconds = time.time() - self.written
        return seconds if seconds > _QUIET_SECONDS else None


@dataclass(frozen=True, slots=True)
class StepStatus:
    """detail: for a step that is running or was interrupted, how far it is. doing: the same of a running one, in
    numbers. folder: of what it has made, in the store; "" where it has not begun."""

    name: str
    kind: str
    state: State
    seconds: float | None = None
    detail: str = ""
    doing: Doing | None = None
    folder: str = ""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """command: what goes on with the run, or runs it again. by: who works on it, as `process 7 on host`. stopping: that
    one was asked to stop."""

    name: str
    folder: str
    steps: tuple[StepStatus, ...]
    command: str
    by: str | None = None
    stopping: bool = False

    @property
    def state(self) -> str:
        if self.by is not None:
            return "running"  # perhaps between two steps
        states = {step.state for step in self.steps}
        order: tuple[State, ...] = ("running", "interrupted", "removed", "to run")
        return next((state for state in order if state in states), "done")


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """runs: the newest first. others: unfinished work that belongs to no run. Bytes of the disk: artifacts, those of
    them that no run uses, and unfinished work."""

    runs: tuple[RunStatus, ...]
    others: tuple[StepStatus, ...]
    artifacts: int
    unused: int
    unfinished: int


def status(store: Store, run: str | None = None) -> StoreStatus:
    """Of all runs, or of one by its name. Raises UserError for a name that no run has. Changes nothing."""
    plans = plans_in(store)
    if run is not None and run not in plans:
        raise unknown_run(store, run)
    contents = {path: _read(path) for path in plans.values()}
    planned = {_folder_name(row) for content in contents.values() for row in content["steps"]}
    runs = [_run(store, path, content) for path, content in contents.items() if run in (None, path.parent.name)]
    strays = [path for path in _folders(store.root / "work") if path.name not in planned]
    others = [_begun(path.name, path.name.rpartition("-")[0], path) for path in strays]
    sizes = {path.name: num_bytes(path) for path in _folders(store.root / "artifacts")}
    return StoreStatus(
        runs=tuple(runs),
        others=tuple(others) if run is None else (),
        artifacts=sum(sizes.values()),
        unused=sum(
            size for name, size in sizes.items() if name not in planned and not _is_beside(store, name, planned)
        ),
        unfinished=sum(num_bytes(path) for path in _folders(store.root / "work")),
    )


def plans_in(store: Store) -> dict[str, Path]:
    """The plan.json of each run, by the run's name, the newest first."""
    found: list[tuple[float, Path]] = []
    for path in (store.root / "runs").glob(f"*/{PLAN}"):
        with suppress(OSError):  # removed just now
            found.append((path.stat().st_mtime, path))
    return {path.parent.name: path for _, path in sorted(found, key=lambda one: (-one[0], one[1]))}


def run_status(store: Store, run: str) -> RunStatus:
    """Of one run, without the disk that the store uses. Raises UserError for a name that no run has (a path is none),
    or for a plan that cannot be read."""
    path = store.root / "runs" / run / PLAN
    try:
        there = Path(run).name == run and run != ".." and path.is_file()
    except OSError:  # a name that is longer than a file's may be
        there = False
    if not there:
        raise unknown_run(store, run)
    return _run(store, path, _read(path))


def unknown_run(store: Store, run: str) -> UserError:
    plans = plans_in(store)
    remedy = did_you_mean(run, plans) if plans else "Run a recipe first, or name its store with --store."
    return UserError(f"there is no run {run!r}", where=str(store.root / "runs"), remedy=remedy)


def _is_beside(store: Store, name: str, planned: set[str]) -> bool:
    """Whether an artifact holds log-probabilities (`accord.engine.direct.reference`) under a policy that a run uses.
    They are no step of a run's, and any step with that reference may want them."""
    if not name.startswith("reference_logprobs-"):
        return False
    try:
        parents = json.loads((store.root / "artifacts" / name / MANIFEST).read_bytes())["parents"]["reference"]
        return any(_folder_name(parent) in planned for parent in parents)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def num_bytes(folder: Path) -> int:
    """Of all files below a folder; one that goes meanwhile does not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _run(store: Store, path: Path, plan: dict[str, Any]) -> RunStatus:
    steps = tuple(_step(store, row) for row in plan["steps"])
    arguments = ["accord", "run", plan["recipe"]]
    arguments += [word for override in plan["overrides"] for word in ("--set", override)]
    arguments += ["--store", str(store.root)] if str(store.root) != "accord-store" else []
    process = process_of(path.parent)
    stopping = process is not None and is_stopping(path.parent, process)
    by = str(process) if process else None
    return RunStatus(path.parent.name, str(path.parent), steps, shlex.join(arguments), by, stopping)


def _step(store: Store, row: dict[str, Any]) -> StepStatus:
    name, kind = row["name"], row["kind"]
    made = f"artifacts/{_folder_name(row)}"
    if (store.root / made / MANIFEST).is_file():
        return StepStatus(name, kind, "done", row["seconds"], folder=made)
    work = store.root / "work" / _folder_name(row)
    if work.is_dir() or holder(_lock_of(work)):
        return _begun(name, kind, work)
    return StepStatus(name, kind, "removed" if row["artifact"] else "to run")


def _begun(name: str, kind: str, work: Path) -> StepStatus:
    """seconds: worked before the last stop."""
    by, folder = holder(_lock_of(work)), f"work/{work.name}"
    saved = [path for path in (work / "checkpoints").glob("[0-9]*") if (path / MANIFEST).is_file()]
    seconds = _number(work / "elapsed.json", "seconds")
    if by is not None:
        doing = _doing(work)
        detail = ", ".join([by, *(_said(doing) if doing else ())])
        return StepStatus(name, kind, "running", seconds, detail, doing, folder)
    detail = "no checkpoint: it starts anew"
    if saved:
        iteration = _number(max(saved) / MANIFEST, "iteration")
        counted = iteration is not None and kind in _UNITS
        detail = f"goes on after {_UNITS[kind]} {iteration:.0f}" if counted else "goes on from its last checkpoint"
    return StepStatus(name, kind, "interrupted", seconds, detail, folder=folder)


def _doing(work: Path) -> Doing | None:
    """As the running step has written it."""
    try:
        content = json.loads((work / PROGRESS).read_bytes())
        left = content["seconds_left"]
        return Doing(
            label=str(content["label"]),
            done=int(content["done"]),
            total=int(content["total"]),
            unit=str(content["unit"]),
            seconds_left=None if left is None else float(left),
            shown=dict(content.get("shown") or {}),
            written=float(content["written"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _said(doing: Doing) -> Iterator[str]:
    yield f"{doing.label} {doing.done:,}/{doing.total:,} {doing.unit}"
    if doing.seconds_left is not None:
        yield f"{clock_time(doing.seconds_left)} left"
    if doing.quiet is not None:
        yield f"no news for {clock_time(doing.quiet)}"


def _lock_of(work: Path) -> Path:
    return work.with_name(f"{work.name}.lock")


def _folder_name(row: dict[str, Any]) -> str:
    return f"{row['kind']}-{row['key'][:16]}"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())


def _number(path: Path, name: str) -> float | None:
    try:
        value = json.loads(path.read_bytes())[name]
        return float(value)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(path: Path) -> dict[str, Any]:
    try:
        content: Any = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), remedy="Run the recipe again.") from error
    if not isinstance(content, dict) or not {"recipe", "overrides", "steps"} <= content.keys():
        raise UserError("this is not the plan of a run", where=str(path), remedy="Run the recipe again.")
    return content

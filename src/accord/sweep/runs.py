"""The loop over the runs of a sweep, and what it leaves.

store/runs/<sweep>-<setting>-seed-<n>/     each run, as `accord run` leaves it
      sweeps/<sweep>/sweep.json            settings, what came of each run, and what is said of them
                      table.txt, table.md  a row a setting
                      sweep.html           the same with a picture, one page that opens offline
"""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accord.errors import Interrupted, UserError, first_line
from accord.monitor.sweep_page import sweep_page
from accord.monitor.sweep_table import markdown, text_lines
from accord.recipe import Recipe
from accord.run import Say, run_folder, run_recipe
from accord.steps.base import Registry
from accord.store import atomic
from accord.store.artifacts import Store
from accord.store.lock import lock
from accord.sweep.curves import curves
from accord.sweep.grid import Axis, PlannedRun, check_axes, check_name, check_seeds, parse_seeds, plan_runs, seed_of
from accord.sweep.measure import Metric, Reading, choose, depends_on, read
from accord.sweep.spent import spent
from accord.sweep.summary import Outcome, as_json, rows_of, verdict

FILE = "sweep.json"

Bring = Callable[[PlannedRun, Say], Path]  # runs it, or goes on with it, and gives its folder, report and all


@dataclass(frozen=True, slots=True)
class Sweep:
    """All runs of a sweep, planned. lower: the metric is better the smaller it is."""

    name: str
    recipe: Recipe
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    metric: Metric
    lower: bool
    runs: tuple[PlannedRun, ...]

    def folder(self, store: Store) -> Path:
        return store.root / "sweeps" / self.name


def plan_sweep(
    recipe: Recipe,
    axes: Sequence[Axis],
    registry: Registry,
    *,
    seeds: str | Sequence[int] = "3",
    metric: str | None = None,
    policy: str | None = None,
    lower: bool = False,
    name: str | None = None,
) -> Sweep:
    """Plans every run, so that mistakes show before anything runs. seeds: as --seeds takes them, or these.

    Raises UserError.
    """
    check_axes(axes)
    numbers = parse_seeds(seeds, seed_of(recipe, axes)) if isinstance(seeds, str) else check_seeds(seeds)
    name = check_name(name) if name is not None else run_folder(Store(Path()), recipe).name[:60]
    runs = plan_runs(recipe, axes, numbers, registry, name)
    chosen = choose(metric, policy, runs[0].plan)
    for run in runs[1:]:  # each evaluates what its own setting says
        try:
            choose(metric, policy, run.plan)
        except UserError as error:
            raise UserError(f"{run.label}: {error.what}", where=error.where, remedy=error.remedy) from error
    return Sweep(name, recipe, tuple(axes), numbers, chosen, lower, tuple(runs))


def overview(sweep: Sweep, store: Store) -> list[str]:
    """What is said before the first run: a line a step, how many different ones all runs have of it and how many of
    those are not in the store; and each caution once, those of the sweep itself too."""
    found: dict[tuple[str, str], dict[str, bool]] = {}
    for run in sweep.runs:
        for step in run.plan.steps:
            found.setdefault((step.name, step.kind), {})[step.key] = store.has(step.kind, step.key)
    names, kinds = (max(len(each[at]) for each in found) for at in (0, 1))
    lines = [
        f"{name:{names}}  {kind:{kinds}}  {sum(not there for there in steps.values())} to make, of {len(steps)}"
        for (name, kind), steps in found.items()
    ]
    cautions = dict.fromkeys(caution for run in sweep.runs for caution in run.plan.cautions)
    return [*lines, *cautions, *_no_difference(sweep), *_replaced(sweep, sweep.folder(store))]


def _replaced(sweep: Sweep, folder: Path) -> Iterator[str]:
    """A caution where the table of other keys stands. The runs behind it are kept."""
    if not (folder / FILE).is_file():
        return
    before = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if list(before["set"]) != [axis.key for axis in sweep.axes]:
        keys = ", ".join(before["set"]) or "seeds alone"
        yield f"the table of an earlier sweep over {keys} in {folder} is replaced. Name this one to keep both: --name."


def _no_difference(sweep: Sweep) -> Iterator[str]:
    """A caution for each key whose values do not change what is compared."""
    compared = [(run, of) for run in sweep.runs if (of := depends_on(sweep.metric, run.plan)) is not None]
    for axis in sweep.axes if compared else ():
        found: dict[tuple[object, ...], list[object]] = {}  # by the seed and all other values
        for run, (_, same) in compared:
            others = tuple(item for item in run.setting.items() if item[0] != axis.key)
            found.setdefault((run.seed, others), []).append(same)
        if len(axis.values) > 1 and all(one == each[0] for each in found.values() for one in each):
            yield (
                f"--set {axis.key}: {sweep.metric} is compared of {compared[0][1][0]!r}, which is the same for all "
                f"values of {axis.key}. Name what depends on it: --policy NAME, or --metric STEP:KEY."
            )


def run_sweep(sweep: Sweep, store: Store, bring: Bring, *, retry: bool = False, say: Say = print) -> Path:
    """Makes the runs that are not there yet, one after the other, and the table of all. Returns the sweep's folder.

    A run that fails is recorded, and the next one is made. One that failed before is made again with `retry` alone, or
    when its plan has changed. Raises Interrupted and KeyboardInterrupt as `run_recipe` does, once the table is written,
    and UserError when the first run that is done has no such metric.
    """
    folder = sweep.folder(store)
    with lock(folder.with_name(f".{folder.name}.lock"), f"the sweep {sweep.name!r}"):
        outcomes = {} if retry else _failed_before(folder, sweep.runs)
        outcomes = {run.name: outcomes.get(run.name, Outcome()) for run in sweep.runs}
        try:
            for number, run in enumerate(sweep.runs, start=1):
                head = f"run {number} of {len(sweep.runs)}: {run.label}"
                outcomes[run.name] = _make(run, outcomes, sweep.metric, store, bring, head, say)
                _write(folder, _found(sweep, outcomes, store))
        except (Interrupted, KeyboardInterrupt):
            outcomes[run.name] = Outcome("interrupted")
            _write(folder, _found(sweep, outcomes, store))
            raise
        finally:
            if (folder / FILE).exists():
                atomic.write_text(folder / "sweep.html", sweep_page(json.loads((folder / FILE).read_bytes())))
    return folder


def bring_to(store: Store, registry: Registry, *, force: bool = False) -> Bring:
    """Brings a run into a store as `accord run` does. force: also one that seems not to fit."""
    from accord.estimate.check import refuse
    from accord.results import write_report

    def bring(run: PlannedRun, say: Say) -> Path:
        free = force or not any(registry[step.kind].work for step in run.plan.steps)
        return run_recipe(
            run.plan.recipe,
            registry,
            store,
            name=run.name,
            finish=lambda at, _: write_report(at, store),
            inspect=None if free else lambda plan: refuse(plan, registry, store),
            say=say,
            brief=True,
        )

    return bring


def _make(
    run: PlannedRun,
    outcomes: Mapping[str, Outcome],
    metric: Metric,
    store: Store,
    bring: Bring,
    head: str,
    say: Say,
) -> Outcome:
    before = outcomes[run.name]
    try:
        there = {step.name: store.has(step.kind, step.key) for step in run.plan.steps}
        cached = all(there.values())
        if before.status == "failed" and not cached:
            say(f"{head}: failed before, and is left out ({before.why}); --retry makes it again")
            return before
        say(f"{head}: {_state(there)}")
        run_dir = bring(run, say)
    except Interrupted:
        raise
    except UserError as error:
        say(f"{run.label}: failed: {error}")
        return Outcome("failed", _why(error, run))
    except Exception as error:  # a fault of the program costs one run, and keeps its traceback
        traceback.print_exc(file=sys.stderr)
        say(f"{run.label}: failed: {type(error).__name__}")
        return Outcome("failed", f"{type(error).__name__}: {first_line(error)}")
    try:
        reading = read(metric, run_dir)
    except UserError as error:
        if not any(outcome.status == "done" for outcome in outcomes.values()):
            raise  # no other run will have it
        return Outcome("failed", first_line(error))
    if not math.isfinite(reading.value):
        return Outcome("failed", f"{metric} is not finite")
    return Outcome("done", reading=reading)


def _why(error: UserError, run: PlannedRun) -> str:
    """In one line. Of a place in the recipe the key is enough, as all runs are of one recipe."""
    key = error.where.rpartition(":")[2] if error.where.startswith(f"{run.plan.recipe.path}:") else error.where
    return first_line(UserError(error.what, where=key))


def _state(there: Mapping[str, bool]) -> str:
    """As in "to run ppo, evaluate; cached model, sft". there: step -> whether it is in the store."""
    to_run, cached = (", ".join(name for name, found in there.items() if found is one) for one in (False, True))
    if not to_run:
        return "cached"
    return f"to run {to_run}" + (f"; cached {cached}" if cached else "")


def _failed_before(folder: Path, runs: Sequence[PlannedRun]) -> dict[str, Outcome]:
    """Of the runs that are planned as they were then."""
    try:
        rows = json.loads((folder / FILE).read_bytes())["runs"]
        failed = {row["digest"]: str(row["why"]) for row in rows if row["status"] == "failed"}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {run.name: Outcome("failed", failed[run.digest]) for run in runs if run.digest in failed}


def _write(folder: Path, found: Mapping[str, Any]) -> None:
    with atomic.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    atomic.write_json(folder / FILE, found)
    atomic.write_text(folder / "table.txt", "\n".join(text_lines(found)) + "\n")
    atomic.write_text(folder / "table.md", markdown(found))


def _found(sweep: Sweep, outcomes: Mapping[str, Outcome], store: Store) -> dict[str, Any]:
    """What is known of a sweep, with what is read from the artifacts of its runs."""
    drawn = curves(sweep.runs, outcomes, sweep.axes, store.root / "runs")
    return {**content(sweep, outcomes), "cost": spent(sweep.runs, store), "curves": drawn}


def content(sweep: Sweep, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """sweep.json: all that is known of a sweep, plain. outcomes: by the runs' names."""
    rows = rows_of(sweep.runs, outcomes)
    done = [reading for outcome in outcomes.values() if (reading := outcome.reading) is not None]
    return {
        "name": sweep.name,
        "recipe": str(sweep.recipe.path),
        "metric": str(sweep.metric),
        "of": _of(done) or sweep.metric.policy or sweep.metric.step or "",
        "lower": sweep.lower,
        "set": {axis.key: list(axis.values) for axis in sweep.axes},
        "seeds": list(sweep.seeds),
        "verdict": verdict(rows, str(sweep.metric), lower=sweep.lower),
        "settings": [as_json(row) for row in rows],
        "runs": [_run_json(run, outcomes[run.name]) for run in sweep.runs],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _of(done: Sequence[Reading]) -> str:
    """Whose number it is; of runs that evaluate different policies, the setting says whose."""
    names = list(dict.fromkeys(reading.of for reading in done))
    return names[0] if len(names) == 1 else "each run's last policy" if names else ""


def _run_json(run: PlannedRun, outcome: Outcome) -> dict[str, Any]:
    reading = outcome.reading
    return {
        "run": run.name,
        "label": run.label,
        "setting": dict(run.setting),
        "seed": run.seed,
        "status": outcome.status,
        "why": outcome.why,
        "value": reading.value if reading else None,
        "low": reading.low if reading else None,
        "high": reading.high if reading else None,
        "beside": dict(reading.beside) if reading else {},
        "digest": run.digest,
    }

"""Run a plan: what the store holds is taken from it, the rest is run, published and linked into the run's folder.

store/runs/<recipe>/recipe.yaml        as run, with the overrides named on top
                    plan.json          steps with key, seconds and artifact
                    steps/<name>       a link to the artifact of each step
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from accord.cluster.launch import Team
from accord.computing import conditions_of, meters_for
from accord.counts import counts_of
from accord.errors import Interrupted, UserError, first_line
from accord.monitor.cost import Assumptions
from accord.plan import INTERNAL, Plan, make_plan
from accord.recipe import Recipe
from accord.run_folder import PLAN, lock_of, run_name, stopping_of
from accord.run_record import StepRecord, stopped_at, write_run
from accord.settled import plan_in
from accord.steps.base import Input, Job, Link, PlannedStep, Registry
from accord.stopping import stop_on_sigint
from accord.store import atomic
from accord.store.artifacts import Artifact, Parent, Provenance, Store
from accord.store.checkpoints import Checkpoints
from accord.store.lock import lock, writing
from accord.store.progress import clock_time
from accord.store.workspace import METRICS, MetricsLog, Workspace
from accord.trackers.base import Series
from accord.trackers.reports import Reported, Reports

MIN_FREE_BYTES = 2 << 30

_GOING_ON = "going on from its last checkpoint"

Say = Callable[[str], None]
Finish = Callable[[Path, list[StepRecord]], object]
Inspect = Callable[[Plan], None]


def run_recipe(
    recipe: Recipe,
    registry: Registry,
    store: Store,
    *,
    until: str | None = None,
    name: str | None = None,
    finish: Finish | None = None,
    inspect: Inspect | None = None,
    say: Say = print,
    brief: bool = False,
    min_free_bytes: int = MIN_FREE_BYTES,
    min_checkpoint_seconds: float = 120.0,
    wait: bool = True,
) -> Path:
    """Bring every step of a recipe, or those up to the step `until`, into the store. Returns the run's folder.

    name: of the run's folder, by default as the recipe's file is named. finish: called at the end with the run's folder
    and what was done, also where it fails or is stopped, but for a second Ctrl-C and what `inspect` refused. inspect:
    called once the model and the data are in the store, if a step is left to run, with the plan up to `until`; it
    raises what speaks against running it. say: prints one line. brief: nothing is said of the plan, its cautions and
    what is cached. wait: stay where people are asked; else Waiting is raised. Raises UserError for what the user can
    mend, Interrupted after a first Ctrl-C once the work is saved, KeyboardInterrupt after a second.
    """
    Assumptions.of()  # raises what would else be said after hours
    wanted = {step.name for step in make_plan(recipe, registry).until(until)}
    plan, ended = plan_in(store, recipe, registry)
    steps = [step for step in plan.steps if step.name in wanted]
    for line in () if brief else (*plan_lines(plan, store), *plan.cautions):
        say(line)
    if any(not store.has(step.kind, step.key) for step in steps):
        _check_disk(store, min_free_bytes)
        if store.remote is not None:
            store.remote.check_writable()
    run_dir = run_folder(store, recipe, name)
    records: list[StepRecord] = []
    refused = False
    held, note = lock(lock_of(run_dir), f"the run {run_dir.name!r}"), stopping_of(run_dir)
    with held, stop_on_sigint(note) as stop, nullcontext() if recipe.cluster is None else Team(recipe.cluster) as team:
        if not (run_dir / PLAN).exists():  # a run shows from its start on
            write_run(run_dir, store, plan, records)
        reports = Reports(recipe.report_to, run_dir)
        try:
            while len(records) < len(steps):
                step = steps[len(records)]
                if stop.is_set():
                    raise Interrupted
                if inspect and step.kind not in INTERNAL and not store.has(step.kind, step.key):
                    refused = True
                    inspect(replace(plan, steps=tuple(steps)))
                    inspect, refused = None, False
                try:
                    if team is not None and _left_together(steps[len(records) :], registry, store):
                        team.start()  # what is wrong with it is said before anything is computed
                    with reports.of(_series(run_dir, step)) as told:
                        settings = _Settings(stop, say, min_checkpoint_seconds, told, brief, wait, team)
                        record = _bring(step, registry, store, settings)
                        told.catch_up(MetricsLog(record.artifact.path / METRICS))
                    records.append(record)
                except UserError as error:
                    raise plan.located(error, step.name) from error
                if registry[step.kind].settled is not None:
                    plan, ended = plan_in(store, recipe, registry)
                    steps = [step for step in plan.steps if step.name in wanted]
                write_run(run_dir, store, plan, records)
        except BaseException as error:
            at = steps[min(len(records), len(steps) - 1)].name
            with _second_to(say):
                write_run(run_dir, store, plan, records, stopped_at(at, error))
                if finish is not None and isinstance(error, Exception) and not refused:
                    finish(run_dir, records)
                    say(f"what has run so far is in {run_dir}")
            raise
        if len(steps) < len(plan.steps):
            at = next(step.name for step in plan.steps if step.name not in wanted)
            reason = UserError(f"only what is up to {until!r} was to run")
            write_run(run_dir, store, plan, records, stopped_at(at, reason))
        for block, why in ended.items():
            say(f"{block}: {why}")
        if finish is not None:
            finish(run_dir, records)
        if not_uploaded := _left(store, records):
            say(not_uploaded)
    return run_dir


@contextmanager
def _second_to(say: Say) -> Iterator[None]:
    """What goes wrong in here is said, and does not hide the error that ends the run."""
    try:
        yield
    except Exception as worse:
        say(f"no report could be written of what has run: {first_line(worse)}")


def _left_together(steps: Sequence[PlannedStep], registry: Registry, store: Store) -> bool:
    """Whether some step that several processes compute is not in the store yet."""
    return any(registry[step.kind].shares(step.config) and not store.has(step.kind, step.key) for step in steps)


def plan_lines(plan: Plan, store: Store) -> list[str]:
    """The plan as a table: name, kind, cached (remote: elsewhere) or to run, and the beginning of the key."""
    width = max(len(step.name) for step in plan.steps)
    kinds = max(len(step.kind) for step in plan.steps)
    lines = []
    for step in plan.steps:
        here = store.here(step.kind, step.key) is not None
        state = "cached" if here else "remote" if store.has(step.kind, step.key) else "to run"
        lines.append(f"{step.name:{width}}  {step.kind:{kinds}}  {state}  {step.key[:12]}")
    return lines


def run_folder(store: Store, recipe: Recipe, name: str | None = None) -> Path:
    """The folder of a recipe's runs, named as its file is, or by `name`."""
    return store.root / "runs" / (name or run_name(recipe.path))


@dataclass(frozen=True, slots=True)
class _Settings:
    """How a step is run. As `run_recipe` has them; told: who follows its metrics."""

    stop: threading.Event
    say: Say
    min_checkpoint_seconds: float
    told: Reported
    brief: bool
    wait: bool
    team: Team | None


def _bring(step: PlannedStep, registry: Registry, store: Store, settings: _Settings) -> StepRecord:
    artifact = store.find(step.kind, step.key)
    folder = store.work_folder(step.kind, step.key)
    cached = artifact is not None and not folder.exists()
    if not cached:
        with lock(folder.with_name(f"{folder.name}.lock"), f"the step {step.name!r}"):
            artifact = store.find(step.kind, step.key)  # another process may have made it just now
            cached = artifact is not None
            if cached:  # it was published, and killed before its work folder was removed
                shutil.rmtree(folder, ignore_errors=True)
            else:
                artifact = _run_step(step, registry, store, folder, settings)
    assert artifact is not None
    store.offer(artifact)
    counts = "".join(f"; {count}" for count in counts_of(artifact))
    if not (settings.brief and cached):
        settings.say(f"{step.name}: " + ("cached" if cached else f"done in {clock_time(artifact.seconds)}") + counts)
    return StepRecord(step.name, step.kind, step.config_json(), step.key, artifact.seconds, cached, artifact)


def _run_step(step: PlannedStep, registry: Registry, store: Store, folder: Path, settings: _Settings) -> Artifact:
    inputs = {field: tuple(_input(store, link) for link in links) for field, links in step.parents.items()}
    if settings.team is not None and registry[step.kind].shares(step.config):
        going_on = Checkpoints(folder / "checkpoints").any()
        settings.say(f"{step.name}: " + (_GOING_ON if going_on else "running"))
        log = MetricsLog(folder / "out" / METRICS)
        return settings.team.run(
            step,
            store,
            folder,
            stop=settings.stop.is_set,
            min_checkpoint_seconds=settings.min_checkpoint_seconds,
            meanwhile=lambda: settings.told.catch_up(log),
        )
    with writing(folder, f"the step {step.name!r}"):
        work = Workspace(
            folder,
            min_checkpoint_seconds=settings.min_checkpoint_seconds,
            stop=settings.stop.is_set,
            conditions=conditions_of(registry[step.kind]),
            waits=settings.wait,
            meters=meters_for(registry[step.kind]),
            copy=store.unfinished(step.kind, step.key),
        )
        settings.told.follow(work.metrics)
        settings.say(f"{step.name}: " + (_GOING_ON if work.checkpoints.any() else "running"))
        try:
            with atomic.disk_errors(folder):
                registry[step.kind].run(Job(step.name, step.config, step.seed, inputs, work, store))
        except BaseException:
            work.spending.write()
            raise
        return work.publish(store, _provenance(step))


def _input(store: Store, link: Link) -> Input:
    artifact = store.find(link.step.kind, link.step.key)
    assert artifact is not None, f"{link.step.name} stands above and has run"
    artifact.verify()
    return Input(link.name, artifact, link.part, link.kind)


def _provenance(step: PlannedStep) -> Provenance:
    parents = {
        field: tuple(Parent(link.name, link.step.kind, link.step.key, link.part) for link in links)
        for field, links in step.parents.items()
    }
    return Provenance(step.kind, step.name, step.key, step.version, step.config_json(), step.seed, parents)


def _left(store: Store, records: list[StepRecord]) -> str:
    """What is said of artifacts that could not be uploaded, after a last attempt; "" where there are none."""
    if store.remote is None:
        return ""
    for record in records:
        store.offer(record.artifact)
    num = len(store.remote.left)
    which = f"{num} artifact{'s are' if num > 1 else ' is'} here, and not yet at {store.remote.url}"
    return f"{which}: the same command uploads what is left" if num else ""


def _series(run_dir: Path, step: PlannedStep) -> Series:
    return Series(run_dir.name, step.name, step.kind, step.key, step.seed, step.config_json(), run_dir)


def _check_disk(store: Store, min_free_bytes: int) -> None:
    try:
        store.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=store.root):
            pass
    except OSError as error:
        raise UserError(
            f"the store cannot be written: {error.strerror}",
            where=str(store.root),
            remedy="Make that folder writable, or name another one with --store.",
        ) from error
    free = shutil.disk_usage(store.root).free
    if free < min_free_bytes:
        raise UserError(
            f"only {free / 2**30:.1f} GiB are free, and a run needs {min_free_bytes / 2**30:.1f}",
            where=str(store.root),
            remedy="Free some space, or name a store on another disk with --store.",
        )

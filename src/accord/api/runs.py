"""Runs from Python: run a recipe or one step, look at what came out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.errors import UserError, did_you_mean
from accord.overrides import apply_overrides
from accord.recipe import Recipe, load_recipe, parse_recipe
from accord.references import MODEL, MODEL_NAMES
from accord.settled import plan_in
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.place import store_folder
from accord.store.workspace import METRICS, MetricsLog

if TYPE_CHECKING:
    from accord.api.models import Policy, Reward

DEFAULT_STORE = Path("accord-store")

Overrides = Mapping[str, Any] | Sequence[str]


@dataclass(frozen=True, slots=True)
class Planned:
    """A step that would be run, or is `cached`: in the store already."""

    name: str
    kind: str
    cached: bool
    key: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A finished step. folder: its artifact, nothing in which changes any more. seconds: of work, when it was made.
    cached: it was in the store before this run. store: the one that was named, the only one whose code is run."""

    name: str
    kind: str
    folder: Path
    seconds: float
    cached: bool
    config: Mapping[str, Any]
    store: Path = DEFAULT_STORE

    def metrics(self) -> list[dict[str, Any]]:
        """What it logged, a row for each optimizer step or iteration; none for steps that do not train."""
        log = self.folder / METRICS
        return MetricsLog(log).read() if log.is_file() else []

    def summary(self) -> dict[str, Any]:
        """What it counted, from summary.json; empty when it has none."""
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def records(self, part: str = "train") -> list[Any]:
        """The records of a part of the data that it made, as `read_data` gives them. Raises UserError."""
        from accord.api.data import stored_records

        self._expect("data")
        return stored_records(self.folder, part)

    def policy(self) -> Policy:
        """The policy that it made. Raises UserError when it made none."""
        from accord.api.models import load_policy

        self._expect("policy", "model")
        return load_policy(self.folder)

    def reward(self) -> Reward:
        """The reward that it made. Raises UserError when it made none."""
        from accord.api.models import load_reward

        self._expect("reward")
        return load_reward(self.folder, store=self.store)

    def _expect(self, *produces: str) -> None:
        if STEPS[self.kind].produces not in produces:
            what = f"the step {self.name!r} makes no {produces[0]}, but {STEPS[self.kind].produces}"
            raise UserError(what, where=str(self.folder), remedy="Name another step.")


@dataclass(frozen=True, slots=True)
class Run:
    """The steps of a recipe that are done, in their order, and the folder that links to them."""

    folder: Path
    steps: Mapping[str, Step]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def results(self) -> dict[str, Any]:
        """The numbers of results.json: an evaluation's, if there was one, and the seconds of each step."""
        return dict(_read_json(self.folder / "results.json"))

    def cost(self) -> dict[str, Any]:
        """Wall and processor seconds, device-hours, energy in kWh and CO2 in kg of each step, and their total; how each
        number came about, and what was assumed. Raises UserError."""
        from accord.costs import run_costs
        from accord.monitor.cost import Assumptions, as_json

        assumed = Assumptions.of()
        return as_json(run_costs(self.folder, Store(self.folder.resolve().parents[1]), assumed), assumed)

    @property
    def report(self) -> Path:
        """The page report.html."""
        return self.folder / "report.html"

    def step(self, name: str) -> Step:
        """A finished step by name; `start` is the model, as in recipes. Raises UserError for another name."""
        if name in MODEL_NAMES and name not in self.steps:
            name = MODEL
        if name not in self.steps:
            what = f"the run {self.name!r} has no finished step {name!r}"
            raise UserError(what, where=str(self.folder), remedy=did_you_mean(name, self.steps))
        return self.steps[name]

    def policy(self, name: str | None = None) -> Policy:
        """The policy of a step, by default of the last one that made one. Raises UserError when there is none."""
        return self.step(name or self.last("policy")).policy()

    def reward(self, name: str | None = None) -> Reward:
        """The reward of a step, by default the one that the last policy was trained on, or else the last one."""
        return self.step(name or self.last("reward")).reward()

    def last(self, produces: str) -> str:
        """The name of the last step that made a policy (or is the model), or a reward; see `policy`, `reward`."""
        kinds = {name: STEPS[step.kind].produces for name, step in self.steps.items()}
        wanted = ("policy",) if produces == "policy" else ("reward",)
        names = [name for name, kind in kinds.items() if kind in wanted]
        if produces == "policy" and not names:
            names = [name for name, kind in kinds.items() if kind == "model"]
        if not names:
            raise UserError(f"the run {self.name!r} made no {produces}", where=str(self.folder))
        used = [step.config.get("reward") for name, step in self.steps.items() if kinds[name] == "policy"]
        return next((str(name) for name in reversed(used) if produces == "reward" and name in names), names[-1])


def run_recipe(
    recipe: str | Path | Mapping[str, Any],
    *,
    store: str | Path = DEFAULT_STORE,
    overrides: Overrides = (),
    until: str | None = None,
    name: str = "run",
    force: bool = False,
    wait: bool = True,
    say: Callable[[str], None] = print,
) -> Run:
    """Run a recipe, or go on with it; steps that are in the store are not run again.

    recipe: the path of a YAML file, or its content as a dictionary. overrides: {"ppo.kl_target": 3}, or as the
    command's --set takes them, ["ppo.kl_target=3"]. until: the last step to run. name: of the run, for a dictionary; a
    file's run has its name. force: run what is not expected to fit into memory or on the disk, too. wait: stay where
    people are asked; else Waiting is raised. say: gets a line of text for each step. Raises UserError for what you can
    mend, and Interrupted after Ctrl-C, once the work is saved.
    """
    from accord.estimate.check import refuse
    from accord.results import write_report
    from accord.run import run_recipe as run

    place = Store(store_folder(store))
    with places(recipe, name):
        folder = run(
            open_recipe(recipe, overrides, name),
            STEPS,
            place,
            until=until,
            finish=lambda at, _: write_report(at, place),
            inspect=None if force else lambda plan: refuse(plan, STEPS, place),
            say=say,
            wait=wait,
        )
    return open_run(folder, place.root)


def check_recipe(
    recipe: str | Path | Mapping[str, Any],
    *,
    store: str | Path = DEFAULT_STORE,
    overrides: Overrides = (),
    name: str = "run",
) -> list[Planned]:
    """Validate a recipe, and say which steps are cached and which would run. Runs nothing. Raises UserError."""
    place = Store(store_folder(store))
    with places(recipe, name):
        plan, _ = plan_in(place, open_recipe(recipe, overrides, name), STEPS)
    return [
        Planned(step.name, step.kind, place.has(step.kind, step.key), step.key, step.config_json())
        for step in plan.steps
    ]


def run_step(
    kind: str,
    config: Mapping[str, Any] | None = None,
    *,
    model: str | Path | Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    seed: int = 1,
    store: str | Path = DEFAULT_STORE,
    name: str | None = None,
    say: Callable[[str], None] = print,
) -> Step:
    """Run one step by itself: a recipe of that step alone.

    kind, config: as in a recipe, run_step("sft", {"data": "mine"}, ...). model, data, seed: a recipe's. A step that
    needs another's result, such as a reward, is a recipe of two: `run_recipe`. Raises UserError.
    """
    name = name or kind
    recipe = {"model": model, "seed": seed, "data": data or {}, "steps": [{kind: {**(config or {}), "name": name}}]}
    run = run_recipe(recipe, store=store, name=f"step-{name}", say=say)
    return run.step(name)


def load_run(name: str | Path, *, store: str | Path = DEFAULT_STORE) -> Run:
    """A run that was made before, by its name or folder. Raises UserError."""
    runs = store_folder(store) / "runs"
    for folder in (Path(name), runs / name):
        if (folder / "plan.json").is_file():
            return open_run(folder, store_folder(store))
    known = [path.parent.name for path in runs.glob("*/plan.json")]
    remedy = did_you_mean(str(name), known) if known else "Run a recipe first, or name its store."
    raise UserError(f"there is no run {str(name)!r}", where=str(runs), remedy=remedy)


def open_run(folder: Path, store: Path) -> Run:
    """The run in a folder. store: the one that was named; the run may be of another. Raises UserError."""
    plan = _read_json(folder / "plan.json")
    root = folder.resolve().parents[1]
    done = [row for row in plan["steps"] if row["artifact"]]
    return Run(
        folder,
        {
            row["name"]: Step(
                row["name"], row["kind"], root / row["artifact"], row["seconds"], row["cached"], row["config"], store
            )
            for row in done
        },
    )


def open_recipe(recipe: str | Path | Mapping[str, Any], overrides: Overrides, name: str) -> Recipe:
    """A recipe as people give it; `name` stands for the file of one that is none. Raises UserError."""
    opened = parse_recipe(yaml_text(recipe), Path(name)) if isinstance(recipe, Mapping) else load_recipe(Path(recipe))
    if isinstance(overrides, str):
        raise UserError("overrides are a list or a dictionary", remedy='As in overrides=["ppo.kl_target=3"].')
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={yaml_text(value, flow=True)}" for key, value in overrides.items()]
    return apply_overrides(opened, overrides)


@contextmanager
def places(recipe: str | Path | Mapping[str, Any], name: str) -> Iterator[None]:
    """Errors in a recipe that is no file name the key and no line."""
    try:
        yield
    except UserError as error:
        if not isinstance(recipe, Mapping):
            raise
        where = re.sub(rf"^{re.escape(name)}:\d+(?=:|$)", "recipe", error.where)
        raise UserError(error.what, where=where, remedy=error.remedy) from error


def yaml_text(value: Any, *, flow: bool = False) -> str:
    """The value as YAML text. Raises UserError for what YAML cannot hold."""
    import yaml

    try:
        text: str = yaml.safe_dump(
            _plain(value), default_flow_style=flow, sort_keys=False, allow_unicode=True, width=2**31
        )
    except yaml.YAMLError as error:
        what = f"a recipe cannot hold this: {error.args[-1] if error.args else error!r}"
        raise UserError(what, remedy="Values are text, numbers, true, false, None, lists and dictionaries.") from error
    return text.removesuffix("...\n").strip() if flow else text


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists; each value by itself, because YAML would write a value seen twice as an alias."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Run the recipe again: what is in the store is kept."
        raise UserError(f"cannot be read: {error}", where=str(path), remedy=remedy) from error

"""Recipe -> plan: ordered steps with validated configs, resolved inputs and keys.

A step's key = sha256 of its kind, version, config, seed and its parents' keys. Equal keys mean equal artifacts, so a
step whose key is in the store is not run again, and changing one number runs again what depends on it, and only that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from accord.config_errors import explain
from accord.errors import UserError, did_you_mean
from accord.recipe import REPEAT, DataSpec, Recipe, StepSpec
from accord.references import DATA, MODEL, References, models_in, refs_of
from accord.rounds import Placed, Round, name_in, unrolled
from accord.seeds import derive_seed
from accord.steps.base import Check, Contradiction, PlannedStep, Registry, StepConfig, StepKind
from accord.store.digests import digest_of
from accord.trackers.known import check_trackers
from accord.yaml_lines import KeyPath

INTERNAL = (MODEL, DATA)
_MOST_WRONG = 9  # keys of a step that are told of beside the first
_ROUND = re.compile(r"(?<=\w)-\d+\b")


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in the order in which they run: the model, the data sets, then the recipe's. cautions: what may be run
    and is hardly meant, each with its place, `file:line:field: what. What to do.` rounds: that of each step of a
    repeated block. specs: what the recipe says of each of its steps, a repeated block's in each round."""

    recipe: Recipe
    steps: tuple[PlannedStep, ...]
    cautions: tuple[str, ...] = ()
    rounds: Mapping[str, Round] = field(default_factory=dict)
    specs: Mapping[str, StepSpec] = field(default_factory=dict)

    def step(self, name: str) -> PlannedStep:
        """A step by name; that of the last round for one of a repeated block. Raises UserError for an unknown one."""
        for step in reversed(self.steps):
            of = self.rounds.get(step.name)
            if name in (step.name, of and step.name.removesuffix(name_in("", of.number))):
                return step
        known = [step.name for step in self.steps]
        raise UserError(f"there is no step {name!r}", where=str(self.recipe.path), remedy=did_you_mean(name, known))

    def until(self, name: str | None) -> tuple[PlannedStep, ...]:
        """The steps up to one of them; None: all."""
        last = self.steps[-1] if name is None else self.step(name)
        return self.steps[: self.steps.index(last) + 1]

    def where(self, name: str, *path: str) -> str:
        """`file:line:field` of a key of a step or data set; that of the step where the recipe does not give the key."""
        data = next((one for one in self.recipe.data if one.name == name), None)
        return nearest(self.recipe, self.specs.get(name, data), path)

    def located(self, error: UserError, name: str) -> UserError:
        """An error that the step `name` raised, with its place in the recipe: a step names itself, or itself and a key
        as `step.key`, or nothing. Other places stay as they are."""
        own, *path = error.where.split(".")
        keys = type(self.step(name).config).model_fields
        if error.where and (own != name or (path and path[0].partition("[")[0] not in keys)):
            return error
        where = self.where(name, *path)
        return UserError(error.what, where=where, remedy=error.remedy)


def nearest(recipe: Recipe, spec: StepSpec | DataSpec | None, path: KeyPath) -> str:
    """The place of a key below a step (None: the model), or of the step when the recipe leaves the key out."""
    if spec is None:
        return recipe.where(None, (MODEL, *path))
    return recipe.where(spec, path if path[:1] in spec.key_lines else ())


def make_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Validate every step's config, resolve what it refers to and compute its key. Runs and reads nothing.

    Raises UserError with `file:line:field` for the first thing that is wrong.
    """
    check_trackers(recipe.report_to, recipe.where(None, ("report_to",)))
    planner = _Planner(recipe, registry)
    planner.add(MODEL, MODEL, {"source": recipe.model, **recipe.model_options}, 0, None)
    for data in recipe.data:
        planner.add(DATA, data.name, {"source": data.source, **data.options}, 0, data)
        References.parts(planner.done[data.name], planner.where(data))  # an unknown source, at its own line
    kinds = [kind for kind in registry if kind not in INTERNAL]
    steps = unrolled(recipe)
    for spec in (placed.spec for placed in steps):
        if spec.kind not in kinds:
            what = f"there is no step of kind {spec.kind!r}"
            raise UserError(what, where=recipe.where(spec), remedy=did_you_mean(spec.kind, [*kinds, REPEAT]))
    for block in recipe.blocks:
        ending = next((spec for spec in block.steps if spec.name == block.until), None)
        if ending is not None and registry[ending.kind].settled is None:
            known = [kind for kind in kinds if registry[kind].settled is not None]
            what = f"a step of kind {ending.kind!r} cannot say that the rounds may end"
            raise UserError(what, where=recipe.where(block, ("until",)), remedy=f"These can: {', '.join(known)}.")
    for placed in steps:
        planner.place(placed)
    cautions = (*planner.cautions.values(), *planner.unused_data(), *planner.never_run(), *planner.by_itself())
    return Plan(recipe, tuple(planner.done.values()), cautions, planner.references.rounds, planner.specs)


def step_seed(seed: int, name: str) -> int:
    """The seed of a step, from the recipe's seed and the step's name."""
    return derive_seed(seed, name)


class _Planner:
    """The plan as it grows."""

    def __init__(self, recipe: Recipe, registry: Registry) -> None:
        self.recipe, self.registry = recipe, registry
        self.references = References(recipe, registry)
        self.done, self.where = self.references.done, self.references.where
        self.cautions: dict[object, str] = {}
        self.specs: dict[str, StepSpec] = {}

    def place(self, placed: Placed) -> None:
        """A step of the recipe."""
        spec = placed.spec
        row = self.registry[spec.kind]
        config = self.references.settle(row.config, spec.config, placed)
        self.specs[spec.name] = spec
        if placed.round:
            self.references.rounds[spec.name] = placed.round
        self.add(spec.kind, spec.name, config, step_seed(self.recipe.seed, spec.name), spec)

    def add(self, kind: str, name: str, config: Mapping[str, Any], seed: int, spec: StepSpec | DataSpec | None) -> None:
        row = self.registry[kind]
        valid = self._validate(row, config, spec)
        parents = {field: self.references.links(field, ref, valid, spec) for field, ref in refs_of(row.config).items()}
        content = {
            "kind": kind,
            "version": row.version,
            "config": valid.identity(),
            "seed": seed,
            "parents": {field: [[link.step.key, link.part] for link in links] for field, links in parents.items()},
        }
        key = digest_of(content)
        step = PlannedStep(name, kind, row.version, valid, seed, parents, key)
        if row.check is not None:
            self._check(step, row.check, spec)
        self.done[name] = step

    def unused_data(self) -> list[str]:
        """A caution for each data set that no step takes. It is read all the same."""
        used = {link.step.name for step in self.done.values() for links in step.parents.values() for link in links}
        what = "no step uses this data set. Name it in a step, or take it out."
        return [f"{self.where(data)}: {what}" for data in self.recipe.data if data.name not in used]

    def never_run(self) -> list[str]:
        """A caution for each step of a block whose rounds do not come."""
        late = [(one, block) for block in self.recipe.blocks for one in block.steps if one.from_round > block.rounds]
        what = "it runs in none of the {} rounds. Lower from_round, or add rounds."
        return [f"{self.where(one, ('from_round',))}: {what.format(block.rounds)}" for one, block in late]

    def by_itself(self) -> list[str]:
        """A caution for each step that the processes of `cluster` would share, were it not for its engine."""
        if self.recipe.cluster is None:
            return []
        what = "vLLM samples in one process, so one computes this step, whatever `cluster` says. Leave out engine."
        found = [one for one in self.done.values() if self.registry[one.kind].together]
        specs = [self.specs[one.name] for one in found if not self.registry[one.kind].shares(one.config)]
        return list(dict.fromkeys(f"{nearest(self.recipe, spec, ('engine',))}: {what}" for spec in specs))

    def _check(self, step: PlannedStep, check: Check, spec: StepSpec | DataSpec | None) -> None:
        try:
            found = list(check(step))
        except Contradiction as error:
            where = nearest(self.recipe, spec, tuple(error.key.split(".")))
            raise UserError(error.what, where=where, remedy=error.remedy) from error
        for one in found:
            said = f"{nearest(self.recipe, spec, (one.key,))}: {one.what} {one.remedy}".rstrip()
            # What holds of a step in every round is said once, of the first.
            again = (
                (spec.line, one.key, _ROUND.sub("", one.what)) if spec and step.name in self.references.rounds else said
            )
            self.cautions.setdefault(again, said)

    def _validate(self, row: StepKind, config: Mapping[str, Any], spec: StepSpec | DataSpec | None) -> StepConfig:
        try:
            return row.config.model_validate(dict(config))
        except UserError as error:  # of a file that the step names
            what = f"{error.where}: {error.what}" if error.where and isinstance(spec, StepSpec) else error.what
            where = self.where(spec) if isinstance(spec, StepSpec) else error.where or self.where(spec)
            raise UserError(what, where=where, remedy=error.remedy) from error
        except Contradiction as error:
            raise UserError(error.what, where=nearest(self.recipe, spec, (error.key,)), remedy=error.remedy) from error
        except ValidationError as error:
            found = self._wrong(row, error.errors(include_url=False), spec)
        first, *others = found
        more = [str(one) for one in others[:_MOST_WRONG]]
        raise UserError(first.what, where=first.where, remedy="\n".join([first.remedy, *more]))

    def _wrong(self, row: StepKind, problems: Sequence[Any], spec: StepSpec | DataSpec | None) -> list[UserError]:
        """What pydantic finds wrong with the keys of a step, mistyped ones first, each once."""
        typos = [one for one in problems if one["type"] == "extra_forbidden"]
        # A mistyped key is also a missing one: the typo is the better message.
        others = [one for one in problems if one not in typos and not (typos and one["type"] == "missing")]
        found: dict[KeyPath, UserError] = {}
        for problem in (*typos, *others):
            path = problem["loc"]
            what, remedy = explain(problem, _fields_at(row.config, path))
            if problem["type"] not in ("extra_forbidden", "missing"):
                while spec and len(path) > 1 and path not in spec.key_lines:
                    path = path[:-1]  # pydantic appends the tags of unions
            found.setdefault(path, UserError(what, where=self.where(spec, path), remedy=remedy))
        return list(found.values())


def _fields_at(config: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The names that could stand for the last element of a path into a config."""
    models = [config]
    for element in path[:-1]:
        inner = [
            model
            for outer in models
            if element in outer.model_fields
            for model in models_in(outer.model_fields[str(element)].annotation)
        ]
        models = inner or models  # list indices and the tags of unions are no fields
    return [name for model in models for name in model.model_fields]

"""Recipe -> plan: ordered steps with validated configs, resolved inputs and keys.

A step's key = sha256 of its kind, version, config, seed and its parents' keys. Equal keys mean equal artifacts, so a
step whose key is in the store is not run again, and changing one number runs again what depends on it, and only that.
"""

from __future__ import annotations

import hashlib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import BaseModel, ValidationError

from accord.config_errors import explain
from accord.data.derive import VIEWS
from accord.data.records import RecordKind
from accord.errors import UserError, did_you_mean
from accord.recipe import DataSpec, Recipe, StepSpec
from accord.seeds import derive_seed
from accord.steps.base import LATEST, Check, Contradiction, Link, PlannedStep, Ref, StepConfig, StepKind
from accord.store.digests import canonical
from accord.yaml_lines import KeyPath

Registry = Mapping[str, StepKind]

MODEL, DATA = "model", "data"
INTERNAL = (MODEL, DATA)
MODEL_NAMES = ("model", "start")
ONLY_PART = "train"  # what the name of a data set alone stands for

_NOUNS: Mapping[str, str] = {
    "model": "the model to start from",
    "policy": "a policy",
    "reward": "a reward",
    "data": "a data set",
    "results": "a table of results",
}
_REWARD_MODELS = ("reward", "reward_model")  # kinds; the other rewards are rules, functions, endpoints
_SEVERAL: Mapping[str, str] = {"policy": "Policies", "reward": "Rewards"}


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in the order in which they run: the model, the data sets, then the recipe's. cautions: what may be run
    and is hardly meant, each with its place, `file:line:field: what. What to do.`"""

    recipe: Recipe
    steps: tuple[PlannedStep, ...]
    cautions: tuple[str, ...] = ()

    def step(self, name: str) -> PlannedStep:
        """A step by name. Raises UserError for an unknown one."""
        for step in self.steps:
            if step.name == name:
                return step
        known = [step.name for step in self.steps]
        raise UserError(f"there is no step {name!r}", where=str(self.recipe.path), remedy=did_you_mean(name, known))

    def where(self, name: str, *path: str) -> str:
        """`file:line:field` of a key of a step or data set; that of the step where the recipe does not give the key."""
        specs: tuple[StepSpec | DataSpec, ...] = (*self.recipe.data, *self.recipe.steps)
        spec = next((one for one in specs if one.name == name), None)
        return nearest(self.recipe, spec, path)

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
    planner = _Planner(recipe, registry)
    planner.add(MODEL, MODEL, {"source": recipe.model, **recipe.model_options}, 0, None)
    for data in recipe.data:
        planner.add(DATA, data.name, {"source": data.source, **data.options}, 0, data)
        planner.parts_of(planner.done[data.name], planner.where(data))  # an unknown source, at its own line
    kinds = [kind for kind in registry if kind not in INTERNAL]
    for spec in recipe.steps:
        if spec.kind not in kinds:
            what = f"there is no step of kind {spec.kind!r}"
            raise UserError(what, where=recipe.where(spec), remedy=did_you_mean(spec.kind, kinds))
        planner.add(spec.kind, spec.name, spec.config, step_seed(recipe.seed, spec.name), spec)
    return Plan(recipe, tuple(planner.done.values()), (*planner.cautions, *planner.unused_data()))


def step_seed(seed: int, name: str) -> int:
    """The seed of a step, from the recipe's seed and the step's name."""
    return derive_seed(seed, name)


def refs_of(config: type[BaseModel]) -> dict[str, Ref]:
    """The fields of a Config that name other steps: `Annotated[str, Ref(...)]`, optional, a list or tuple of them."""
    found = {}
    for name, info in config.model_fields.items():
        marks = {mark for mark in info.metadata if isinstance(mark, Ref)}
        marks |= {mark for part in _parts(info.annotation) for mark in _marks(part)}
        assert len(marks) <= 1, f"{config.__name__}.{name} wants two kinds of artifact"
        if marks:
            found[name] = marks.pop()
        for inner in _models(info.annotation):
            assert not refs_of(inner), f"{config.__name__}.{name}: a Ref inside a nested config is not resolved"
    return found


class _Planner:
    """The plan as it grows."""

    def __init__(self, recipe: Recipe, registry: Registry) -> None:
        self.recipe, self.registry = recipe, registry
        self.done: dict[str, PlannedStep] = {}
        self.cautions: list[str] = []

    def add(self, kind: str, name: str, config: Mapping[str, Any], seed: int, spec: StepSpec | DataSpec | None) -> None:
        row = self.registry[kind]
        valid = self._validate(row, config, spec)
        parents = {field: self._links(field, ref, valid, spec) for field, ref in refs_of(row.config).items()}
        content = {
            "kind": kind,
            "version": row.version,
            "config": valid.model_dump(mode="json"),
            "seed": seed,
            "parents": {field: [[link.step.key, link.part] for link in links] for field, links in parents.items()},
        }
        key = hashlib.sha256(canonical(content).encode()).hexdigest()
        step = PlannedStep(name, kind, row.version, valid, seed, parents, key)
        if row.check is not None:
            self._check(step, row.check, spec)
        self.done[name] = step

    def unused_data(self) -> list[str]:
        """A caution for each data set that no step takes. It is read all the same."""
        used = {link.step.name for step in self.done.values() for links in step.parents.values() for link in links}
        what = "no step uses this data set. Name it in a step, or take it out."
        return [f"{self.where(data)}: {what}" for data in self.recipe.data if data.name not in used]

    def _check(self, step: PlannedStep, check: Check, spec: StepSpec | DataSpec | None) -> None:
        try:
            found = list(check(step))
        except Contradiction as error:
            raise UserError(error.what, where=nearest(self.recipe, spec, (error.key,)), remedy=error.remedy) from error
        places = [nearest(self.recipe, spec, (one.key,)) for one in found]
        self.cautions += [
            f"{where}: {one.what} {one.remedy}".rstrip() for where, one in zip(places, found, strict=True)
        ]

    def where(self, spec: StepSpec | DataSpec | None, path: KeyPath = ()) -> str:
        return self.recipe.where(spec, path) if spec else self.recipe.where(None, (MODEL, *path))

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
            # A mistyped key is also a missing one: the typo is the better message.
            problems = error.errors(include_url=False)
            problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
        path = problem["loc"]
        what, remedy = explain(problem, _fields_at(row.config, path))
        if problem["type"] not in ("extra_forbidden", "missing"):
            while spec and len(path) > 1 and path not in spec.key_lines:
                path = path[:-1]  # pydantic appends the tags of unions
        raise UserError(what, where=self.where(spec, path), remedy=remedy)

    def _links(self, field: str, ref: Ref, config: StepConfig, spec: StepSpec | DataSpec | None) -> tuple[Link, ...]:
        value = getattr(config, field)
        if value is None:
            return ()
        if isinstance(value, str):
            return (self._link(value, ref, self.where(spec, (field,))),)
        return tuple(self._link(name, ref, self.where(spec, (field, at))) for at, name in enumerate(value))

    def _link(self, name: str, ref: Ref, where: str) -> Link:
        if ref.wants == "data":
            return self._data_link(name, ref, where)
        if name in MODEL_NAMES:
            step = self.done[MODEL]
        elif name == LATEST:
            policies = [step for step in self.done.values() if self._produces(step) == "policy"]
            step = policies[-1] if policies else self.done[MODEL]
        else:
            fitting = self._fitting(ref)
            step = self._named(name, where, did_you_mean(name, fitting) if fitting else self._choice(ref))
        if not self._fits(step, ref):
            is_one = "a reward model" if step.kind in _REWARD_MODELS else _NOUNS[self._produces(step)]
            what = f"{name!r} is {is_one}, and {_NOUNS[ref.wants]} is wanted here"
            raise UserError(what, where=where, remedy=self._choice(ref))
        return Link(name, step)

    def _data_link(self, name: str, ref: Ref, where: str) -> Link:
        parts = {
            f"{step.name}.{part}": records
            for step in self.done.values()
            if self._produces(step) == "data"
            for part, records in self.parts_of(step, where).items()
        }
        if name in self.done and f"{name}.{ONLY_PART}" in parts:
            name = f"{name}.{ONLY_PART}"
        fitting = [
            known
            for known, records in parts.items()
            if not ref.kinds or any(records == kind or (records, kind) in VIEWS for kind in ref.kinds)
        ]
        kinds = " or ".join(ref.kinds)
        wanted = f"the {kinds} of a data set" if kinds else "a part of a data set"
        remedy = did_you_mean(name, fitting) if fitting else f"No data set above has {kinds or 'parts'}."
        if name not in parts:
            owner = name.partition(".")[0]
            if owner in self.done and "." in name:
                raise UserError(f"{owner!r} has no part {name.partition('.')[2]!r}", where=where, remedy=remedy)
            if "." in name:
                sets = [step.name for step in self.done.values() if self._produces(step) == "data"]
                self._named(owner, where, did_you_mean(owner, sets) if sets else "Nothing above has data.")
            raise UserError(f"{name!r} is not {wanted}", where=where, remedy=f"Write NAME.PART. {remedy}")
        if name not in fitting:
            what = f"{name!r} holds {parts[name]}, and {kinds} are wanted here"
            raise UserError(what, where=where, remedy=f"These are: {', '.join(fitting)}." if fitting else remedy)
        owner, _, part = name.partition(".")
        return Link(name, self.done[owner], part, parts[name])

    def _choice(self, ref: Ref) -> str:
        """A remedy: what could stand in the place, or what makes it."""
        if fitting := self._fitting(ref):
            return f"{_SEVERAL[ref.wants]} above: {', '.join(fitting)}."
        kinds = [kind for kind, row in self.registry.items() if row.produces == ref.wants]
        return f"Add {_NOUNS[ref.wants]} above: a step of kind {' or '.join(kinds)}."

    def _fitting(self, ref: Ref) -> list[str]:
        return [name for name, step in self.done.items() if self._fits(step, ref)]

    def _named(self, name: str, where: str, remedy: str) -> PlannedStep:
        if name in self.done:
            return self.done[name]
        for spec in self.recipe.steps:
            if spec.name == name:
                what = f"the step {name!r} is not defined above, but on line {spec.line}"
                raise UserError(what, where=where, remedy="A step can use what stands above it: move one of the two.")
        raise UserError(f"there is nothing called {name!r}", where=where, remedy=remedy)

    def _produces(self, step: PlannedStep) -> str:
        return self.registry[step.kind].produces

    def _fits(self, step: PlannedStep, ref: Ref) -> bool:
        produces = self._produces(step)
        return produces == ref.wants or (ref.wants == "policy" and produces == "model")

    @staticmethod
    def parts_of(step: PlannedStep, where: str) -> Mapping[str, RecordKind]:
        """The parts of a data set and the kind of their records. Raises UserError, placed at `where`."""
        try:
            return cast("Mapping[str, RecordKind]", cast(Any, step.config).parts())
        except UserError as error:
            raise UserError(error.what, where=error.where or where, remedy=error.remedy) from error


def _parts(annotation: Any) -> Iterator[Any]:
    """The annotation and all that it is built from."""
    yield annotation
    origin = typing.get_origin(annotation)
    if origin is Annotated or origin in (typing.Union, types.UnionType, list, tuple, dict, set, frozenset):
        for inner in typing.get_args(annotation)[: 1 if origin is Annotated else None]:
            yield from _parts(inner)


def _marks(annotation: Any) -> list[Ref]:
    return [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Ref)]


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def _fields_at(config: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The names that could stand for the last element of a path into a config."""
    models = [config]
    for element in path[:-1]:
        inner = [
            model
            for outer in models
            if element in outer.model_fields
            for model in _models(outer.model_fields[str(element)].annotation)
        ]
        models = inner or models  # list indices and the tags of unions are no fields
    return [name for model in models for name in model.model_fields]

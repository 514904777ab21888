"""What the names in a step's config mean: the artifacts of steps above it.

In a repeated block
- NAME of a step in the block is that of the same round; after the block, that of the last round;
- NAME@previous is that of the round before, NAME@earlier are all before this round, NAME@all are these and this one;
- `latest` is the newest policy above, `previous` the last one of the round before that policy's;
- a step without `start` begins from the newest policy of its round, or, where there is none yet, from the block's
  `start`, so that every round starts afresh; `start: latest` goes on from the last round.
A list takes what there is; where one name is wanted and there is none, that is an error.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, cast

from pydantic import BaseModel

from accord.data.derive import VIEWS
from accord.data.records import RecordKind
from accord.errors import UserError, did_you_mean
from accord.recipe import Block, DataSpec, Recipe, StepSpec
from accord.rounds import Placed, Round, name_in
from accord.steps.base import LATEST, PREVIOUS, Link, PlannedStep, Ref, Registry, StepConfig

MODEL, DATA = "model", "data"
MODEL_NAMES = ("model", "start")
ONLY_PART = "train"  # what the name of a data set alone stands for
START = "start"  # the field that names the policy from which a step begins

_WHICH = ("previous", "earlier", "all")  # behind an @
_NOUNS: Mapping[str, str] = {
    "model": "the model to start from",
    "policy": "a policy",
    "reward": "a reward",
    "data": "a data set",
    "results": "a table of results",
}
_REWARD_MODELS = ("reward", "reward_model")  # kinds; the other rewards are rules, functions, endpoints
_SEVERAL: Mapping[str, str] = {"policy": "Policies", "reward": "Rewards"}


def parts_of(annotation: Any) -> Iterator[Any]:
    """The annotation and all that it is built from."""
    yield annotation
    origin = typing.get_origin(annotation)
    if origin is Annotated or origin in (typing.Union, types.UnionType, list, tuple, dict, set, frozenset):
        for inner in typing.get_args(annotation)[: 1 if origin is Annotated else None]:
            yield from parts_of(inner)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The nested configs of an annotation."""
    return [part for part in parts_of(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def refs_of(config: type[BaseModel]) -> dict[str, Ref]:
    """The fields of a Config that name other steps: `Annotated[str, Ref(...)]`, optional, a list or tuple of them."""
    found = {}
    for name, info in config.model_fields.items():
        marks = {mark for mark in info.metadata if isinstance(mark, Ref)}
        marks |= {mark for part in parts_of(info.annotation) for mark in _marks(part)}
        assert len(marks) <= 1, f"{config.__name__}.{name} wants two kinds of artifact"
        if marks:
            found[name] = marks.pop()
        for inner in models_in(info.annotation):
            assert not refs_of(inner), f"{config.__name__}.{name}: a Ref inside a nested config is not resolved"
    return found


def _marks(annotation: Any) -> list[Ref]:
    return [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, Ref)]


def _takes_several(config: type[BaseModel], field: str) -> bool:
    return any(typing.get_origin(part) in (list, tuple) for part in parts_of(config.model_fields[field].annotation))


class References:
    """The steps that are planned so far, and what a name stands for among them. All methods raise UserError, placed at
    the key."""

    def __init__(self, recipe: Recipe, registry: Registry) -> None:
        self.recipe, self.registry = recipe, registry
        self.done: dict[str, PlannedStep] = {}
        self.rounds: dict[str, Round] = {}  # of the done steps that stand in one
        self.starts: dict[str, str] = {}  # block -> the policy that its rounds start from

    def where(self, spec: StepSpec | DataSpec | Block | None, path: tuple[str | int, ...] = ()) -> str:
        """The place of a key of a step or data set; None: of the model."""
        return self.recipe.where(spec, path) if spec else self.recipe.where(None, (MODEL, *path))

    # What names in rounds mean.

    def settle(self, config_type: type[BaseModel], config: Mapping[str, Any], placed: Placed) -> dict[str, Any]:
        """The config with every name that depends on rounds replaced by that of a step."""
        settled = dict(config)
        if placed.round:
            self._enter(placed.round)
        for field, ref in refs_of(config_type).items():
            if field not in config:
                default = config_type.model_fields[field].default
                if not placed.round or default not in (LATEST, (LATEST,)):
                    continue
                if field == START:
                    settled[field] = self._start(placed.round)
                    continue
                given: Any = LATEST if default == LATEST else [LATEST]
            else:
                given = config[field]
            names = [given] if isinstance(given, str) else given
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                continue  # whatever it is, its validation says so
            several = _takes_several(config_type, field)
            found: list[str] = []
            for at, name in enumerate(names):
                where = self.where(placed.spec, (field,) if isinstance(given, str) else (field, at))
                found += self._meant(name, placed.round, several, where)
            if placed.round and ref.wants == "policy":
                found = list(dict.fromkeys(found))  # in the first round, `latest` and `previous` are one
            if names and not found:
                if config_type.model_fields[field].default in ((), None):
                    del settled[field]  # a list of what there is, which is nothing yet
                    continue
                what = f"in round {placed.round.number if placed.round else 1} there is nothing of {given!r} yet"
                raise UserError(what, where=self.where(placed.spec, (field,)), remedy=_LATER)
            one = isinstance(given, str) and len(found) == 1 and "@" not in given
            settled[field] = found[0] if one or (isinstance(given, str) and not several) else found
        return settled

    def _enter(self, current: Round) -> None:
        """Settle the policy that a block's rounds start from, at its first step."""
        block = current.block
        if block.name not in self.starts:
            where = self.where(block, (START,))
            if block.start is None or block.start == LATEST:
                name = self._newest()
            else:
                (name,) = self._meant(block.start, None, several=False, where=where)
            self.starts[block.name] = self.link(name, Ref("policy"), where).name

    def _policies(self, current: Round | None = None) -> list[str]:
        """The policies above; of a round, if one is given."""
        return [
            name
            for name, step in self.done.items()
            if self._produces(step) == "policy" and (current is None or self.rounds.get(name) == current)
        ]

    def _newest(self) -> str:
        return [MODEL_NAMES[1], *self._policies()][-1]

    def _start(self, current: Round) -> str:
        return [self.starts[current.block.name], *self._policies(current)][-1]

    def _previous(self, current: Round) -> str:
        """The last policy of the round before that of the newest one, or the block's start."""
        block = current.block
        last = [self._policies(Round(block, number))[-1:] for number in range(1, current.number + 1)]
        finals = [self.starts[block.name], *(name for names in last for name in names)]
        return finals[max(len(finals) - 2, 0)]

    def _meant(self, name: str, of: Round | None, several: bool, where: str) -> list[str]:
        """The names of the steps (with the part of a data set) that a name stands for, in a round or outside of all."""
        base, at, which = name.partition("@")
        owner, dot, part = base.partition(".")
        block = next((one for one in self.recipe.blocks if owner in {step.name for step in one.steps}), None)
        if at and (block is None or which not in _WHICH):
            what = f"{owner!r} is no step of a repeated block" if block is None else f"{which!r} names no rounds"
            raise UserError(what, where=where, remedy=f"Write NAME@{', NAME@'.join(_WHICH)}, of a step in a block.")
        if block is None:
            if of and name in (LATEST, PREVIOUS):
                return [self._newest() if name == LATEST else self._previous(of)]
            return [name]
        inside = of is not None and of.block == block
        current = of.number if inside and of else block.rounds
        made = [number for number in range(1, current + 1) if name_in(owner, number) in self.done]
        if not at:
            wanted = [number for number in made if number == current] if inside else made[-1:]
        else:
            wanted = {"all": made, "earlier": made[:-1] if made[-1:] == [current] else made}.get(
                which, [number for number in made if number == current - 1]
            )
        if which in ("all", "earlier") and not several:
            remedy = f"Name one: {owner}, {owner}@previous."
            raise UserError("one name is wanted here, and this stands for several", where=where, remedy=remedy)
        if not inside and not any(self.rounds[done].block == block for done in self.rounds):
            what = f"{owner!r} is a step of the repeated block {block.name!r}, which stands below"
            raise UserError(what, where=where, remedy="Move one of the two.")
        if inside and not at and not wanted and _runs_in(block, owner, current):
            remedy = f"Move one of the two, or write {owner}@previous."
            raise UserError(f"the step {owner!r} is not defined above in the round", where=where, remedy=remedy)
        if not wanted and not several:
            raise UserError(f"in round {current} there is no {name!r}", where=where, remedy=_LATER)
        return [f"{name_in(owner, number)}{dot}{part}" for number in wanted]

    # What a name that is settled stands for.

    def links(self, field: str, ref: Ref, config: StepConfig, spec: StepSpec | DataSpec | None) -> tuple[Link, ...]:
        """The inputs of a field of a validated config."""
        value = getattr(config, field)
        if value is None:
            return ()
        if isinstance(value, str):
            return (self.link(value, ref, self.where(spec, (field,))),)
        return tuple(self.link(name, ref, self.where(spec, (field, at))) for at, name in enumerate(value))

    def link(self, name: str, ref: Ref, where: str) -> Link:
        """The step that a name stands for, when it makes what is wanted."""
        if ref.wants == "data":
            return self._data_link(name, ref, where)
        if name in MODEL_NAMES:
            step = self.done[MODEL]
        elif name == LATEST:
            step = self.done[[MODEL, *self._policies()][-1]]
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
            for part, records in self.parts(step, where).items()
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
        owner, _, part = name.partition(".")
        if name not in fitting:
            what = f"{name!r} holds {parts[name]}, and {kinds} are wanted here"
            told, meant = self._lacking(owner, part, ref.kinds)
            others = f"These are: {', '.join(fitting)}." if fitting else "" if meant else remedy
            remedy = f"{meant} {others}".strip()
            raise UserError(f"{what}: {told}" if told else what, where=where, remedy=remedy)
        return Link(name, self.done[owner], part, parts[name])

    def _lacking(self, owner: str, part: str, kinds: Sequence[RecordKind]) -> tuple[str, str]:
        """Which column the data of the recipe lacks to be of one of the kinds, and what to do; else "", ""."""
        find = getattr(self.done[owner].config, "lacking", None)
        try:
            found: tuple[str, str] = find(part, kinds) if find is not None else ("", "")
        except UserError:  # it is worse than that, and is said where the data is read
            return "", ""
        return found

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
        for spec in (*self.recipe.steps, *(step for block in self.recipe.blocks for step in block.steps)):
            if spec.name == name and not isinstance(spec, Block):
                what = f"the step {name!r} is not defined above, but on line {spec.line}"
                raise UserError(what, where=where, remedy="A step can use what stands above it: move one of the two.")
        raise UserError(f"there is nothing called {name!r}", where=where, remedy=remedy)

    def _produces(self, step: PlannedStep) -> str:
        return self.registry[step.kind].produces

    def _fits(self, step: PlannedStep, ref: Ref) -> bool:
        produces = self._produces(step)
        return produces == ref.wants or (ref.wants == "policy" and produces == "model")

    @staticmethod
    def parts(step: PlannedStep, where: str) -> Mapping[str, RecordKind]:
        """The parts of a data set and the kind of their records. Raises UserError, placed at `where`."""
        try:
            return cast("Mapping[str, RecordKind]", cast(Any, step.config).parts())
        except UserError as error:
            raise UserError(error.what, where=error.where or where, remedy=error.remedy) from error


_LATER = "Set `from_round: 2` for this step, or name something that there is."


def _runs_in(block: Block, name: str, number: int) -> bool:
    spec = next(step for step in block.steps if step.name == name)
    return spec.from_round <= number <= (spec.to_round or block.rounds)

"""Recipes: YAML -> the frame (model, seed, data, steps), keeping the line of every key.

    model: smollm2-135m-instruct
    seed: 1
    data: {reviews: builtin:film-reviews}
    steps:
      - sft:    {data: reviews.sft}
      - reward: {name: proxy, data: reviews.proxy}

      - repeat: {rounds: 5, steps: [{reject: {...}}]}

Only the frame is read here. What a step's config means is up to the step, and is checked when the plan is made; what a
repeated block becomes stands in `accord.rounds`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from accord.errors import UserError, did_you_mean
from accord.placement import Cluster, read_cluster
from accord.yaml_lines import KeyPath, parse_yaml

TOP_LEVEL = ("model", "seed", "data", "cluster", "report_to", "steps")
RESERVED = ("model", "start", "latest", "previous")
OVERRIDDEN = 0  # as a line: the value came from --set
REPEAT = "repeat"  # as the kind of a step: a block of steps
MAX_ROUNDS = 100

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One item of `steps`, as written. key_lines: the line of each key and list item below it, by path. from_round,
    to_round: of a repeated block, the first and the last in which the step runs (None: the last of all)."""

    kind: str
    name: str
    config: Mapping[str, Any]
    line: int
    key_lines: Mapping[KeyPath, int] = field(default_factory=dict)
    from_round: int = 1
    to_round: int | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Steps that are run in rounds, one after another. start: the policy from which the first step of each round that
    trains one starts (None: the newest above the block). until: the step of the block that can end it before."""

    name: str
    rounds: int
    start: str | None
    until: str | None
    steps: tuple[StepSpec, ...]
    line: int
    key_lines: Mapping[KeyPath, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataSpec:
    """One data set: where it comes from (a source, or one for each part), and the options of that source."""

    name: str
    source: str | Mapping[str, str]
    options: Mapping[str, Any]
    line: int
    key_lines: Mapping[KeyPath, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The frame of a recipe. lines: of each top-level key, and of each key below `model`, by path. overrides: what
    --set changed, in order. report_to: the trackers that metrics go to. cluster: where steps are computed (None: in
    this process). No step's key depends on these two."""

    path: Path
    text: str
    model: str
    seed: int
    data: tuple[DataSpec, ...]
    steps: tuple[StepSpec | Block, ...]
    lines: Mapping[KeyPath, int]
    overrides: tuple[str, ...] = ()
    model_options: Mapping[str, Any] = field(default_factory=dict)
    report_to: tuple[str, ...] = ()
    cluster: Cluster | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The repeated ones of the steps."""
        return tuple(one for one in self.steps if isinstance(one, Block))

    def where(self, spec: StepSpec | DataSpec | Block | None, path: KeyPath = ()) -> str:
        """`file:line:field` of a key below a step or data set (None: the top level), or the --set that gave it."""
        lines, otherwise = (spec.key_lines, spec.line) if spec else (self.lines, 1)
        line = next((lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in lines), otherwise)
        dotted = ".".join(str(part) for part in (*([spec.name] if spec else []), *path))
        return f"--set {dotted}" if line == OVERRIDDEN else f"{self.path}:{line}:{dotted}".rstrip(":")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. Raises UserError with `file:line:field` for whatever is wrong with it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"the recipe cannot be read: {error.strerror}", where=str(path), remedy="Give the path of a YAML file."
        ) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError("this is not UTF-8 text", where=f"{path}:{line}", remedy="Save the file as UTF-8.") from error
    return parse_recipe(text, path)


def parse_recipe(text: str, path: Path) -> Recipe:
    """The recipe in `text`. `path` is what error messages call it. Raises UserError."""
    value, lines = parse_yaml(text, str(path))
    if value is None:
        raise UserError("the recipe is empty", where=str(path), remedy="It needs `model:` and `steps:`.")
    top = {where: line for where, line in lines.items() if len(where) == 1 or where[0] == "model"}
    frame = _Frame(path, lines)
    if not isinstance(value, dict):
        frame.fail((), "a recipe is a map", "It begins with `model: ...` and `steps:`.")
    for key in value:
        if key not in TOP_LEVEL:
            frame.fail((key,), f"unknown key {key!r}", did_you_mean(key, TOP_LEVEL))
    for key in ("model", "steps"):
        if key not in value:
            frame.fail((), f"the key {key!r} is missing", f"A recipe needs `{key}:`.")
    options = {"source": value["model"]} if isinstance(value["model"], str) else value["model"]
    model = options.pop("source", None) if isinstance(options, dict) else None
    if not isinstance(model, str) or not model:
        remedy = "Write `model: NAME` or `model: {source: NAME, ...}`: a built-in name, a folder, a file or a hub id."
        frame.fail(("model",), "the model is not a name", remedy)
    sets = _data(frame, value.get("data"))
    return Recipe(
        path=path,
        text=text,
        model=model,
        model_options=options,
        seed=read_seed(value.get("seed", 1), frame.where(("seed",))),
        data=sets,
        report_to=read_report_to(value.get("report_to"), frame.where(("report_to",))),
        cluster=read_cluster(value.get("cluster"), lambda path: frame.where(("cluster", *path))),
        steps=_steps(frame, value["steps"], ("steps",), {one.name: one.line for one in sets}),
        lines=top,
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things are in the file, while it is taken apart."""

    path: Path
    lines: Mapping[KeyPath, int]

    def where(self, path: KeyPath) -> str:
        return f"{self.path}:{self.line(path)}:{'.'.join(map(str, path))}".rstrip(":")

    def line(self, path: KeyPath) -> int:
        return next((self.lines[path[:size]] for size in range(len(path), 0, -1) if path[:size] in self.lines), 1)

    def below(self, path: KeyPath) -> dict[KeyPath, int]:
        size = len(path)
        return {where[size:]: line for where, line in self.lines.items() if len(where) > size and where[:size] == path}

    def place_in(self, spec: StepSpec, key: str) -> str:
        return f"{self.path}:{spec.key_lines.get((key,), spec.line)}:{spec.name}.{key}"

    def fail(self, path: KeyPath, what: str, remedy: str) -> NoReturn:
        raise UserError(what, where=self.where(path), remedy=remedy)


def _data(frame: _Frame, value: Any) -> tuple[DataSpec, ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        frame.fail(("data",), "`data` is not a map", "Write `data: {NAME: SOURCE}`.")
    found: dict[str, int] = {}
    sets = []
    for name, entry in value.items():
        path = ("data", name)
        _check_name(frame, path, name, found)
        found[name] = frame.line(path)
        options = {"source": entry} if isinstance(entry, str) else entry
        source = options.pop("source", None) if isinstance(options, dict) else None
        if not is_source(source):
            remedy = (
                f"Write `{name}: SOURCE` or `{name}: {{source: SOURCE, ...}}`; SOURCE may be a map, `{{PART: FILE}}`."
            )
            frame.fail(path, "a data set needs a source", remedy)
        sets.append(DataSpec(name, source, options, found[name], frame.below(path)))
    return tuple(sets)


def is_source(value: Any) -> TypeGuard[str | Mapping[str, str]]:
    """A name, or a map from part to name."""
    parts = value.values() if isinstance(value, dict) else [value]
    return bool(parts) and all(isinstance(part, str) and part for part in parts)


def _steps(frame: _Frame, value: Any, at: KeyPath, found: dict[str, int]) -> tuple[StepSpec | Block, ...]:
    """found: the names that are taken, with their lines. It grows."""
    if not isinstance(value, list) or not value:
        frame.fail(at, "`steps` is not a list of steps", "Write one `- KIND: {...}` for each step.")
    return tuple(_step(frame, item, (*at, index), found) for index, item in enumerate(value))


def _step(frame: _Frame, item: Any, at: KeyPath, found: dict[str, int]) -> StepSpec | Block:
    if not isinstance(item, dict) or len(item) != 1:
        frame.fail(at, "a step is a map with one key, its kind", "Write `- sft: {data: a.b}`.")
    ((kind, config),) = item.items()
    path = (*at, kind)
    if kind == REPEAT and REPEAT in at:
        frame.fail(path, "a repeated block is inside another one", "Put it beside the other one.")
    if not isinstance(config, dict | None):
        frame.fail(path, f"the config of {kind!r} is not a map", f"Write `- {kind}: {{KEY: VALUE}}`.")
    config = dict(config or {})
    name = config.pop("name", kind)
    _check_name(frame, (*path, "name"), name, found)
    line = found[name] = frame.line(path)
    if kind == REPEAT:
        return _block(frame, name, config, path, found)
    return StepSpec(kind, name, config, line, frame.below(path))


def _block(frame: _Frame, name: str, config: Mapping[str, Any], path: KeyPath, found: dict[str, int]) -> Block:
    known = ("name", "rounds", "start", "until", "steps")
    for key in config:
        if key not in known:
            frame.fail((*path, key), f"unknown key {key!r}", did_you_mean(key, known))
    for key in ("rounds", "steps"):
        if key not in config:
            frame.fail(path, f"the key {key!r} is missing", "Write `repeat: {rounds: 5, steps: [...]}`.")
    steps = []
    for one in _steps(frame, config["steps"], (*path, "steps"), found):
        assert isinstance(one, StepSpec), "blocks are not nested"
        steps.append(in_rounds(one, partial(frame.place_in, one)))
    block = Block(name, 1, None, None, tuple(steps), frame.line(path), frame.below(path))
    for key in known[1:4]:
        if key in config:
            block = with_key(block, key, config[key], frame.where((*path, key)))
    return block


def with_key(block: Block, key: str, value: Any, where: str) -> Block:
    """The block with another value for `rounds`, `start` or `until`. Raises UserError, placed at `where`."""
    if key == "rounds" and not is_round(value):
        remedy = f"Give a whole number from 1 to {MAX_ROUNDS}."
        raise UserError("the number of rounds is not one", where=where, remedy=remedy)
    if key == "start" and not isinstance(value, str | None):
        raise UserError("`start` is not the name of a policy", where=where, remedy="As in `start: sft`.")
    if key == "until" and value not in (None, *(step.name for step in block.steps)):
        remedy = did_you_mean(str(value), [step.name for step in block.steps])
        raise UserError("`until` is not the name of a step in the block", where=where, remedy=remedy)
    return dataclasses.replace(block, **{key: value})


def is_round(value: Any) -> bool:
    """Whether it counts rounds."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ROUNDS


def in_rounds(spec: StepSpec, place: Callable[[str], str]) -> StepSpec:
    """A step of a block, with the keys that say in which rounds it runs taken out of its config. place: of a key.
    Raises UserError."""
    config = dict(spec.config)
    first, last = config.pop("from_round", spec.from_round), config.pop("to_round", spec.to_round)
    for key, value in (("from_round", first), ("to_round", last)):
        if not is_round(value) and not (key == "to_round" and value is None):
            raise UserError(f"`{key}` is not a round", where=place(key), remedy="Rounds count from 1.")
    if last is not None and last < first:
        raise UserError("`to_round` is before `from_round`", where=place("to_round"), remedy="Turn them round.")
    return dataclasses.replace(spec, config=config, from_round=first, to_round=last)


def _check_name(frame: _Frame, path: KeyPath, name: Any, taken: Mapping[str, int]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        frame.fail(path, f"{name!r} is not a name", "Names begin with a letter; letters, digits, - and _ follow.")
    if name in RESERVED:
        frame.fail(path, f"the name {name!r} is reserved", "Choose another one.")
    for other, line in taken.items():
        if other.casefold() == name.casefold():  # names become file names, and some file systems fold case
            frame.fail(path, f"the name {name!r} is taken, by line {line}", "Give this one its own `name`.")


def read_seed(value: Any, where: str) -> int:
    """The seed, when it is one. Raises UserError, placed at `where`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError("the seed is not a whole number of at least 0", where=where, remedy="As in `seed: 1`.")
    return value


def read_report_to(value: Any, where: str) -> tuple[str, ...]:
    """The names of trackers, each once; one may stand alone. Raises UserError, placed at `where`."""
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise UserError(
            "`report_to` is not a list of trackers", where=where, remedy="As in `report_to: [tensorboard]`."
        )
    return tuple(dict.fromkeys(names))

"""Recipes: YAML -> the frame (model, seed, data, steps), keeping the line of every key.

    model: smollm2-135m-instruct
    seed: 1
    data: {reviews: builtin:film-reviews}
    steps:
      - sft:    {data: reviews.sft}
      - reward: {name: proxy, data: reviews.proxy}

Only the frame is read here. What a step's config means is up to the step, and is checked when the plan is made.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from accord.errors import UserError, did_you_mean
from accord.yaml_lines import KeyPath, parse_yaml

TOP_LEVEL = ("model", "seed", "data", "steps")
RESERVED = ("model", "start", "latest")
OVERRIDDEN = 0  # as a line: the value came from --set

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One item of `steps`, as written. key_lines: the line of each key and list item below it, by path."""

    kind: str
    name: str
    config: Mapping[str, Any]
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
    --set changed, in order."""

    path: Path
    text: str
    model: str
    seed: int
    data: tuple[DataSpec, ...]
    steps: tuple[StepSpec, ...]
    lines: Mapping[KeyPath, int]
    overrides: tuple[str, ...] = ()
    model_options: Mapping[str, Any] = field(default_factory=dict)

    def where(self, spec: StepSpec | DataSpec | None, path: KeyPath = ()) -> str:
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
        seed=_seed(value.get("seed", 1), frame.where(("seed",))),
        data=sets,
        steps=_steps(frame, value["steps"], {one.name: one.line for one in sets}),
        lines=top,
    )


def apply_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with `name.key=value` applied in order; values are YAML. Also `seed=2` and `model=...`.

    Names are those of steps and data sets, keys may be nested (`ppo.optimizer.rate=1e-5`). Raises UserError.
    """
    for text in overrides:
        recipe = dataclasses.replace(_override(recipe, text), overrides=(*recipe.overrides, text))
    return recipe


def _override(recipe: Recipe, text: str) -> Recipe:
    place = f"--set {text}"
    target, equals, raw = text.partition("=")
    name, *keys = target.strip().split(".")
    if not equals or not all((name, *keys)):
        raise UserError("this is not an override", where=place, remedy="Write NAME.KEY=VALUE, as in ppo.kl_target=3.")
    value, _ = parse_yaml(raw, place)
    lines = {**recipe.lines, tuple(target.strip().split(".")): OVERRIDDEN}
    if target.strip() == "seed":
        return dataclasses.replace(recipe, seed=_seed(value, place), lines=lines)
    if target.strip() == "model":
        if not isinstance(value, str) or not value:
            raise UserError("the model is not a name", where=place, remedy="Give a built-in model, or a folder.")
        return dataclasses.replace(recipe, model=value, lines=lines)
    if name == "model" and keys:
        changed, _ = _set({"source": recipe.model, **recipe.model_options}, {}, keys, value, place)
        source = changed.pop("source")
        if not isinstance(source, str) or not source:
            raise UserError("the model is not a name", where=place, remedy="Give a built-in model, or a folder.")
        return dataclasses.replace(recipe, model=source, model_options=changed, lines=lines)
    for data in recipe.data:
        if data.name == name and keys:
            changed, key_lines = _set({"source": data.source, **data.options}, data.key_lines, keys, value, place)
            source = changed.pop("source")
            if not _is_source(source):
                raise UserError("the source is not a name", where=place, remedy="As in builtin:film-reviews.")
            one = dataclasses.replace(data, source=source, options=changed, key_lines=key_lines)
            return dataclasses.replace(recipe, data=tuple(one if old is data else old for old in recipe.data))
    for step in recipe.steps:
        if step.name == name and keys:
            if keys == ["name"]:
                raise UserError("a step's name cannot be overridden", where=place, remedy="Change it in the recipe.")
            config, key_lines = _set(step.config, step.key_lines, keys, value, place)
            new = dataclasses.replace(step, config=config, key_lines=key_lines)
            return dataclasses.replace(recipe, steps=tuple(new if old is step else old for old in recipe.steps))
    names = [*(data.name for data in recipe.data), *(step.name for step in recipe.steps), "seed", "model"]
    remedy = did_you_mean(name, names) if keys or name not in names else f"Write {name}.KEY=VALUE."
    raise UserError(f"there is no step or data set {name!r} to set a key of", where=place, remedy=remedy)


def _set(
    config: Mapping[str, Any], lines: Mapping[KeyPath, int], keys: list[str], value: Any, place: str
) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """A copy of the config with a nested key replaced, and of its lines."""
    key, *rest = keys
    inner = config.get(key)
    if rest:
        if inner is not None and not isinstance(inner, dict):
            raise UserError(f"{key!r} holds no keys", where=place, remedy=f"It is {inner!r}.")
        value, _ = _set(inner or {}, {}, rest, value, place)
    path = tuple(keys)
    kept = {where: line for where, line in lines.items() if where[: len(path)] != path}
    return {**config, key: value}, {**kept, path: OVERRIDDEN}


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
        if not _is_source(source):
            remedy = (
                f"Write `{name}: SOURCE` or `{name}: {{source: SOURCE, ...}}`; SOURCE may be a map, `{{PART: FILE}}`."
            )
            frame.fail(path, "a data set needs a source", remedy)
        sets.append(DataSpec(name, source, options, found[name], frame.below(path)))
    return tuple(sets)


def _is_source(value: Any) -> TypeGuard[str | Mapping[str, str]]:
    """A name, or a map from part to name."""
    parts = value.values() if isinstance(value, dict) else [value]
    return bool(parts) and all(isinstance(part, str) and part for part in parts)


def _steps(frame: _Frame, value: Any, names: Mapping[str, int]) -> tuple[StepSpec, ...]:
    if not isinstance(value, list) or not value:
        frame.fail(("steps",), "`steps` is not a list of steps", "Write one `- KIND: {...}` for each step.")
    found = dict(names)
    steps = []
    for index, item in enumerate(value):
        at: KeyPath = ("steps", index)
        if not isinstance(item, dict) or len(item) != 1:
            frame.fail(at, "a step is a map with one key, its kind", "Write `- sft: {data: a.b}`.")
        ((kind, config),) = item.items()
        path = (*at, kind)
        if not isinstance(config, dict | None):
            frame.fail(path, f"the config of {kind!r} is not a map", f"Write `- {kind}: {{KEY: VALUE}}`.")
        config = dict(config or {})
        name = config.pop("name", kind)
        _check_name(frame, (*path, "name"), name, found)
        found[name] = frame.line(path)
        steps.append(StepSpec(kind, name, config, found[name], frame.below(path)))
    return tuple(steps)


def _check_name(frame: _Frame, path: KeyPath, name: Any, taken: Mapping[str, int]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        frame.fail(path, f"{name!r} is not a name", "Names begin with a letter; letters, digits, - and _ follow.")
    if name in RESERVED:
        frame.fail(path, f"the name {name!r} is reserved", "Choose another one.")
    for other, line in taken.items():
        if other.casefold() == name.casefold():  # names become file names, and some file systems fold case
            frame.fail(path, f"the name {name!r} is taken, by line {line}", "Give this one its own `name`.")


def _seed(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError("the seed is not a whole number of at least 0", where=where, remedy="As in `seed: 1`.")
    return value

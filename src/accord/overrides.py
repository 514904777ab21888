"""`--set`: a recipe with other values for some of its keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from accord.errors import UserError, did_you_mean
from accord.placement import read_cluster
from accord.recipe import OVERRIDDEN, Block, Recipe, StepSpec, in_rounds, is_source, read_report_to, read_seed, with_key
from accord.yaml_lines import KeyPath, parse_yaml


def apply_overrides(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with `name.key=value` applied in order; values are YAML. Also `seed=2`, `model=...`,
    `report_to=...` and `cluster=...`.

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
        return dataclasses.replace(recipe, seed=read_seed(value, place), lines=lines)
    if target.strip() == "report_to":
        return dataclasses.replace(recipe, report_to=read_report_to(value, place), lines=lines)
    if name == "cluster":
        before = recipe.cluster.model_dump(exclude_unset=True) if recipe.cluster is not None and keys else {}
        wanted = _set(before, {}, keys, value, place)[0] if keys else value
        return dataclasses.replace(recipe, cluster=read_cluster(wanted, lambda _: place), lines=lines)
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
            if not is_source(source):
                raise UserError("the source is not a name", where=place, remedy="As in builtin:film-reviews.")
            one = dataclasses.replace(data, source=source, options=changed, key_lines=key_lines)
            return dataclasses.replace(recipe, data=tuple(one if old is data else old for old in recipe.data))
    for spec in recipe.steps:
        if keys and (changed_spec := _override_spec(spec, name, keys, value, place)) is not None:
            steps = tuple(changed_spec if old is spec else old for old in recipe.steps)
            return dataclasses.replace(recipe, steps=steps)
    inner = [step.name for block in recipe.blocks for step in block.steps]
    names = [*(one.name for one in (*recipe.data, *recipe.steps)), *inner, "seed", "model", "cluster", "report_to"]
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


def _override_spec(
    spec: StepSpec | Block, name: str, keys: list[str], value: Any, place: str
) -> StepSpec | Block | None:
    """The step or block with a key replaced, when it is the one that is named, or holds it; in all rounds."""
    if isinstance(spec, Block):
        if spec.name == name:
            if keys[1:] or keys[0] not in ("rounds", "start", "until"):
                remedy = "Of a repeated block, rounds, start and until can be set; a step in it by its own name."
                raise UserError(f"{'.'.join(keys)!r} cannot be set", where=place, remedy=remedy)
            key_lines = {**spec.key_lines, (keys[0],): OVERRIDDEN}
            return dataclasses.replace(with_key(spec, keys[0], value, place), key_lines=key_lines)
        for inner in spec.steps:
            if (changed := _override_spec(inner, name, keys, value, place)) is not None:
                assert isinstance(changed, StepSpec)
                changed = in_rounds(changed, lambda _: place)
                return dataclasses.replace(spec, steps=tuple(changed if old is inner else old for old in spec.steps))
        return None
    if spec.name != name:
        return None
    if keys == ["name"]:
        raise UserError("a step's name cannot be overridden", where=place, remedy="Change it in the recipe.")
    config, key_lines = _set(spec.config, spec.key_lines, keys, value, place)
    return dataclasses.replace(spec, config=config, key_lines=key_lines)

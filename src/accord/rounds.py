"""Repeated blocks: the steps that they become, round by round.

    - repeat:
        rounds: 3
        steps:
          - reject: {num_samples: {by_round: [8, 16]}}    # reject-1, reject-2, reject-3; from round 2 on, 16
          - ppo: {from_round: 3}                           # ppo-3

A step called NAME is NAME-ROUND in a plan. What names mean inside of a block stands in `accord.references`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accord.errors import UserError
from accord.recipe import Block, Recipe, StepSpec

BY_ROUND = "by_round"


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of a block. number: from 1."""

    block: Block
    number: int


@dataclass(frozen=True, slots=True)
class Placed:
    """A step as it will be planned, and the round that it stands in (None: in no block)."""

    spec: StepSpec
    round: Round | None = None


def name_in(name: str, number: int) -> str:
    """What a block's step is called in a round."""
    return f"{name}-{number}"


def unrolled(recipe: Recipe) -> list[Placed]:
    """The steps of a recipe in the order in which they run. Raises UserError for a name that a round takes, too."""
    placed: list[Placed] = []
    for item in recipe.steps:
        if not isinstance(item, Block):
            _in_no_round(item.config, recipe, item)
            placed.append(Placed(item))
            continue
        for number in range(1, item.rounds + 1):
            for spec in item.steps:
                if spec.from_round <= number <= (spec.to_round or item.rounds):
                    config = {key: _in_round(value, number, recipe, spec, key) for key, value in spec.config.items()}
                    new = dataclasses.replace(spec, name=name_in(spec.name, number), config=config)
                    placed.append(Placed(new, Round(item, number)))
    taken = {data.name.casefold(): recipe.where(data) for data in recipe.data}
    for one in placed:
        if one.spec.name.casefold() in taken:
            what = f"the name {one.spec.name!r} is that of a step in a round, too"
            raise UserError(what, where=taken[one.spec.name.casefold()], remedy="Give one of the two another name.")
        taken[one.spec.name.casefold()] = recipe.where(one.spec)
    return placed


def shortened(recipe: Recipe, block: str, rounds: int) -> Recipe:
    """The recipe as if the block had so many rounds."""
    steps = tuple(
        dataclasses.replace(one, rounds=rounds) if isinstance(one, Block) and one.name == block else one
        for one in recipe.steps
    )
    return dataclasses.replace(recipe, steps=steps)


def _in_no_round(value: Any, recipe: Recipe, spec: StepSpec, *path: str) -> None:
    """Raises UserError where a step that is in no block has values by round."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if key == BY_ROUND:
            what = f"`{BY_ROUND}` is for steps in a repeated block"
            raise UserError(what, where=recipe.where(spec, path), remedy="Write the value alone.")
        _in_no_round(inner, recipe, spec, *path, key)


def _in_round(value: Any, number: int, recipe: Recipe, spec: StepSpec, *path: str) -> Any:
    """The value of a key in a round: the last of a `by_round` list holds for all rounds after it, too."""
    if not isinstance(value, Mapping):
        return value
    if BY_ROUND not in value:
        return {key: _in_round(inner, number, recipe, spec, *path, key) for key, inner in value.items()}
    listed = value[BY_ROUND]
    if len(value) > 1 or not isinstance(listed, list) or not listed:
        remedy = f"Write `{path[-1]}: {{{BY_ROUND}: [FIRST, SECOND, ...]}}`; the last one holds from then on."
        raise UserError("this is not a list of values by round", where=recipe.where(spec, path), remedy=remedy)
    return listed[min(number, len(listed)) - 1]

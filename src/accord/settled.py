"""Repeated blocks that end before their last round, because the step that `until` names has found enough.

Which rounds there are follows from artifacts alone: the same store gives the same plan, and a run that is gone on with
ends where it would have ended.
"""

from __future__ import annotations

from accord.plan import Plan, make_plan
from accord.recipe import Recipe
from accord.rounds import name_in, shortened
from accord.steps.base import PlannedStep, Registry
from accord.store.artifacts import Store


def plan_in(store: Store, recipe: Recipe, registry: Registry) -> tuple[Plan, dict[str, str]]:
    """The plan with the rounds that are still to come, as far as the store knows; and for each block that has ended
    before its last round, by name, why. Raises UserError as `make_plan` does."""
    plan, ended = make_plan(recipe, registry), dict[str, str]()
    for block in recipe.blocks:
        for number in range(1, block.rounds if block.until else 1):
            step = next((one for one in plan.steps if one.name == name_in(block.until or "", number)), None)
            if (why := _why_enough(step, registry, store) if step else None) is not None:
                recipe = shortened(recipe, block.name, number)
                plan = make_plan(recipe, registry)
                ended[block.name] = f"round {number} is the last of {block.rounds}: {why}"
                break
    return plan, ended


def _why_enough(step: PlannedStep, registry: Registry, store: Store) -> str | None:
    settled, artifact = registry[step.kind].settled, store.find(step.kind, step.key)
    return settled(artifact) if settled and artifact else None

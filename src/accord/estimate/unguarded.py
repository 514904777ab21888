"""Whether a reward that guards safety prompts alone will meet any, as far as the data tells before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accord.engine.sizes import Known
from accord.steps.base import PlannedStep

REMEDY = "Give such prompts the column risk_category, or write `rule: paper` or `rule: threshold`."


def unguarded(step: PlannedStep, inputs: Mapping[str, Sequence[Known]]) -> str | None:
    """What is said of a step that samples for such a reward, where none of its prompts is a safety prompt. inputs:
    field -> what is known of its inputs."""
    rewards, asked = step.parents.get("reward", ()), inputs.get("prompts", ())
    if not rewards or not asked or not all(one.records is not None and one.records.ordinary for one in asked):
        return None
    guard = rewards[0].step
    config: Any = guard.config
    if guard.kind != "piecewise" or config.rule != "slide":
        return None
    names = ", ".join(link.name for link in step.parents["prompts"])
    first = config.rewards[0]
    return f"no prompt of {names} is a safety prompt, so the rule of {rewards[0].name!r} never asks {first!r}. {REMEDY}"

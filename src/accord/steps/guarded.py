"""Whether a reward that guards safety prompts meets any. Not a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accord.types import Prompt

if TYPE_CHECKING:
    from accord.engine.reward import Reward
    from accord.monitor.alarm import Alarm

NO_SAFETY_PROMPT = (
    "no prompt is a safety prompt, so the reward let everything pass: its rule guards prompts with a risk_category "
    "alone. Give the prompts that column, or write `rule: paper` or `rule: threshold`."
)


def guards_nothing(reward: Reward, prompts: Sequence[Prompt]) -> list[Alarm]:
    """The alarm, where all prompts are ordinary ones."""
    from accord.engine.reward import Gated
    from accord.monitor.alarm import Alarm

    if not isinstance(reward, Gated) or not reward.only_safety_prompts or any(one.is_safety for one in prompts):
        return []
    return [Alarm("no_safety_prompt", NO_SAFETY_PROMPT, 1)]

"""What a step that samples can be told wrongly about the end of a response."""

from __future__ import annotations

from typing import Any

from accord.steps.base import Contradiction, PlannedStep
from accord.steps.given import blamed


def check_ending(step: PlannedStep) -> None:
    """Of the keys end_at and end_after. Raises Contradiction."""
    config: Any = step.config
    if config.end_after and config.end_at is None:
        what = "end_after says from where on `end_at` is looked for, and there is no end_at"
        raise Contradiction(blamed(config, "end_after"), what, 'Add `end_at: "."`, or leave out end_after.')
    if config.end_after >= config.max_response_tokens:
        what = (
            f"a response ends after {config.max_response_tokens} tokens, and end_at is looked for after "
            f"{config.end_after}: none would ever be finished"
        )
        raise Contradiction(blamed(config, "end_after"), what, "Lower end_after, or raise max_response_tokens.")

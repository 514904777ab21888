"""Whether most of what a step was given is too long for it. Not a step."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accord.monitor.alarm import Alarm

REMEDY = (
    "Look at the limits, which are max_response_tokens, max_tokens_per_example where the step has it, and the model's "
    "context; or at the data."
)


def too_long(step: str, counts: Mapping[str, Any], num_kept: int, what: str) -> list[Alarm]:
    """The alarm, said at once, too, where more is left out as too long than there is left. counts: with `num_too_long`.
    what: they are called, in the plural."""
    from accord.monitor.alarm import Alarm

    num = int(counts["num_too_long"])
    if num <= num_kept:
        return []
    said = f"{num} of {num + num_kept} {what} are too long, and left out. {REMEDY}"
    print(f"warning: {step}: {said}", file=sys.stderr)
    return [Alarm("too_long", said, 0)]

"""What a reward is: numbers for the responses to prompts, from text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from accord.types import Prompt, Response


class Reward(Protocol):
    """Scores text, so that the one who scores may have a tokenizer and a template of its own."""

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[P * K] fp32, prompt by prompt. Higher is better. `advance` is told of prompts done."""
        ...

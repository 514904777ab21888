"""What of a batch is useful work, counted from the model's config: the same for whoever does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from accord.models.cost import Dimensions


@dataclass(frozen=True, slots=True)
class Example:
    """In tokens. prompt: the prompt's. responses: of each response to it, stop included. num_scored: rows of the
    vocabulary's head, None: every token of the responses."""

    prompt: int
    responses: tuple[int, ...]
    num_scored: int | None = None

    @property
    def num_tokens(self) -> int:
        """The prompt once."""
        return self.prompt + sum(self.responses)

    @property
    def num_flat_tokens(self) -> int:
        """The prompt before each response."""
        return sum(self.prompt + response for response in self.responses)

    @property
    def num_visible(self) -> int:
        """The pairs of a token and one that it sees, itself included.

        >>> Example(2, (1, 2)).num_visible  # 1 + 2, and 3, and 3 + 4
        13
        """
        own = self.prompt * (self.prompt + 1) // 2
        return own + sum(n * self.prompt + n * (n + 1) // 2 for n in self.responses)

    @property
    def head_rows(self) -> int:
        return sum(self.responses) if self.num_scored is None else self.num_scored


def training_flops(examples: Sequence[Example], model: Dimensions) -> float:
    """Of forward and backward over all of the examples, once."""
    tokens, head_rows = sum(one.num_tokens for one in examples), sum(one.head_rows for one in examples)
    visible = sum(one.num_visible for one in examples)
    attention = 4.0 * model.heads * model.head * model.layers * visible
    return 3.0 * (model.forward_flops(tokens, 0, head_rows) + attention)


def counts(examples: Sequence[Example], model: Dimensions) -> dict[str, float]:
    """What the results say of a batch."""
    return {
        "num_examples": len(examples),
        "num_tokens": sum(one.num_tokens for one in examples),
        "num_flat_tokens": sum(one.num_flat_tokens for one in examples),
        "training_flops": training_flops(examples, model),
    }


def model_sizes(model: Dimensions) -> dict[str, object]:
    return {**asdict(model), "parameters": model.policy_parameters}

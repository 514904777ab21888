"""What LoRA can be told (Hu et al. 2021). No tensors here, so that a recipe is checked without loading them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Self

from pydantic import Field, model_validator

from accord.errors import UserError
from accord.strict import StrictModel


class Lora(StrictModel):
    """Low-rank adapters in place of full fine-tuning: W x becomes W x + (alpha / rank) B A x, and only A and B learn.

    alpha: divided by the rank, it scales what the adapter adds. dropout: the share of an adapter's inputs that is
    dropped in training. targets: the linear layers that get an adapter, by the last part of their names, such as
    q_proj; all-linear: every one but the head. The learning rate is the step's own: LoRA wants about ten times that of
    full fine-tuning.
    """

    rank: int = Field(16, gt=0)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.targets:
            raise ValueError("targets is empty: name linear layers, or write all-linear")
        require_peft()
        return self


def require_peft() -> None:
    """Raises UserError when the optional package is not installed."""
    if find_spec("peft") is None:
        raise UserError("lora needs the package peft", remedy="Install it: pip install 'accord[lora]'")


def without_dropout(lora: Lora | None) -> None:
    """Raises ValueError: rewards, ratios and log-probabilities must not depend on what was dropped."""
    if lora is not None and lora.dropout > 0:
        raise ValueError("lora.dropout must be 0 here: scores and probability ratios are wrong with dropout")

"""What training can be told. No tensors here, so that a recipe is checked without loading them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from accord.models.lora import Lora
from accord.strict import Later, StrictModel


@dataclass(frozen=True, slots=True)
class Optimization:
    """AdamW's settings. An eps of 1e-5 follows Llama 2 and the PPO literature.

    eps_before_correction: it is added to the root of the second moment before that is corrected for its start from 0,
    as TensorFlow has it, and not after, as PyTorch has it (Kingma & Ba 2015, end of section 2, against algorithm 1).
    With beta2 0.999 it weighs 30 times as much in the first step, so that small gradients move weights less.
    """

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    eps_before_correction: bool = False

    def eps_at(self, step: int) -> float:
        """What PyTorch's form has to be given in the optimizer step number `step`, from 1."""
        return self.eps / math.sqrt(1 - self.betas[1] ** step) if self.eps_before_correction else self.eps


class TrainingConfig(StrictModel):
    """How to train; the part of a step's configuration that all training steps share.

    learning_rate: AdamW's, at its highest. num_epochs: passes over the data; may be a fraction. batch_size: examples
    an optimizer step. warmup: the share of the optimizer steps over which the learning rate rises from 0. min_warmup:
    at least so many of them, as Llama 2 had 5 for its reward models. decay: how it falls after that.
    final_learning_rate: where `decay` ends, as a share of learning_rate. weight_decay: AdamW's, decoupled.
    max_grad_norm: larger gradients are scaled down to this norm. max_tokens: tokens in a micro-batch;
    it changes speed and memory, never the result beyond rounding and the places of an adapter's dropout. lora: train
    adapters in place of all weights, `{rank: 16, alpha: 32, dropout: 0, targets: all-linear}` (null: all weights).
    """

    learning_rate: float = Field(2e-5, gt=0)
    num_epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(16, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    min_warmup: Annotated[int, Later()] = Field(0, ge=0)
    decay: Literal["constant", "linear", "cosine"] = "cosine"
    final_learning_rate: float = Field(0.1, ge=0, le=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    max_tokens: int = Field(1024, gt=1)
    lora: Lora | None = None

    def optimization(self) -> Optimization:
        return Optimization(weight_decay=self.weight_decay, max_grad_norm=self.max_grad_norm)

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        """Of the optimizer step number `step` (from 0) of `num_steps`."""
        num_warmup = max(round(self.warmup * num_steps), self.min_warmup)
        if step < num_warmup:
            return self.learning_rate * (step + 1) / (num_warmup + 1)
        done = (step - num_warmup) / max(1, num_steps - num_warmup)
        left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[self.decay]
        return self.learning_rate * (self.final_learning_rate + (1 - self.final_learning_rate) * left)

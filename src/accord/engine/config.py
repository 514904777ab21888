"""What training can be told. No tensors here, so that a recipe is checked without loading them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from accord.models.lora import Lora, without_dropout
from accord.strict import StrictModel


@dataclass(frozen=True, slots=True)
class Optimization:
    """AdamW's settings. eps outside bias correction is PyTorch's form; 1e-5 follows Llama 2 and the PPO literature."""

    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-5
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


class TrainingConfig(StrictModel):
    """How to train; the part of a step's configuration that all training steps share.

    learning_rate: AdamW's, at its highest. num_epochs: passes over the data; may be a fraction. batch_size: examples
    an optimizer step. warmup: the share of the optimizer steps over which the learning rate rises from 0. decay: how
    it falls after that. final_learning_rate: where `decay` ends, as a share of learning_rate. weight_decay: AdamW's,
    decoupled. max_grad_norm: larger gradients are scaled down to this norm. max_tokens: places (padding counted) in a
    micro-batch; it changes speed and memory, never the result beyond rounding. lora: train adapters in place of all
    weights, `{rank: 16, alpha: 32, dropout: 0, targets: all-linear}` (null: all weights).
    """

    learning_rate: float = Field(2e-5, gt=0)
    num_epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(16, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
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
        num_warmup = round(self.warmup * num_steps)
        if step < num_warmup:
            return self.learning_rate * (step + 1) / (num_warmup + 1)
        done = (step - num_warmup) / max(1, num_steps - num_warmup)
        left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[self.decay]
        return self.learning_rate * (self.final_learning_rate + (1 - self.final_learning_rate) * left)


class OnPolicyConfig(StrictModel):
    """PPO's settings. Score units are those of the normalised reward (mean 0, variance 1 over its training responses).

    num_iterations: rollouts, each followed by its update. prompts_per_iteration: different prompts in a rollout.
    num_samples: responses to each. max_response_tokens: a longer response is cut off. learning_rate,
    value_learning_rate: AdamW, constant after `warmup`. warmup: the share of the iterations over which both rise from
    0. num_minibatches, num_epochs: optimizer steps an iteration are their product. kl_coef: score units per nat of the
    KL to the reference (with kl_target, where it starts). kl_target: nats per sequence; null keeps kl_coef fixed.
    kl_horizon: the share of the run's sequences over which an error of 20 % moves kl_coef by 20 %: a horizon in
    sequences, as papers give it, does nothing in a short run. truncation_score: replaces the score of a response that
    ran out of tokens; null leaves it. temperature: of sampling, and of all logprobs. clip_range: of the ratio of
    probabilities, around 1. value_clip_range: of a value around its old one, in score units (null: none). gamma:
    discount of later rewards. lam: GAE's lambda; 1 takes nothing from the value model but variance. whiten_advantages:
    to mean 0 and variance 1 over a rollout's tokens. max_tokens: places (padding counted) in a micro-batch.
    max_grad_norm: larger gradients are scaled down to this norm. watch_every: iterations between two looks of the
    rewards that only watch. lora: train adapters in place of all weights, without dropout; policy, reference and value
    model then share one copy of the weights.
    """

    num_iterations: int = Field(30, gt=0)
    prompts_per_iteration: int = Field(16, gt=0)
    num_samples: int = Field(4, gt=0)
    max_response_tokens: int = Field(48, gt=0)
    temperature: float = Field(1.0, gt=0)
    learning_rate: float = Field(1e-5, gt=0)
    value_learning_rate: float = Field(2e-5, gt=0)
    warmup: float = Field(0.05, ge=0, lt=1)
    num_epochs: int = Field(1, gt=0)
    num_minibatches: int = Field(2, gt=0)
    clip_range: float = Field(0.2, gt=0)
    value_clip_range: float | None = Field(0.5, gt=0)
    gamma: float = Field(1.0, gt=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)
    kl_coef: float = Field(0.05, ge=0)
    kl_target: float | None = Field(None, gt=0)
    kl_horizon: float = Field(0.05, gt=0)
    whiten_advantages: bool = True
    truncation_score: float | None = -1.0
    max_tokens: int = Field(1024, gt=0)
    max_grad_norm: float = Field(1.0, gt=0)
    watch_every: int = Field(4, gt=0)
    lora: Lora | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        without_dropout(self.lora)
        if self.kl_target is not None and self.kl_coef == 0:
            raise ValueError("kl_target steers kl_coef, and from 0 it cannot move: give kl_coef a start above 0")
        return self

    def learning_rate_at(self, iteration: int, num_iterations: int) -> float:
        """Of the iteration number `iteration` (from 0)."""
        num_warmup = round(self.warmup * num_iterations)
        return self.learning_rate * min(1.0, (iteration + 1) / (num_warmup + 1))

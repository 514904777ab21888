"""From the score that a reward gives to the one that is trained on: unfinished responses, normalisation, a limit.

In this order (`accord.engine.on_policy.scoring`): an unfinished response gets its fixed score, or loses its penalty, in
the units of the reward as it is given, which is what a recipe states them in; then scores are normalised; then held
between limits, so that nothing comes after to leave them. Masked responses are in no statistic.

Sources: Huang et al. 2023, "The N Implementation Details of RLHF with PPO" (a fixed score for unfinished responses);
Touvron et al. 2023 (Llama 2) section 3.2.3 (scores whitened over a batch); Zheng et al. 2023, arXiv:2307.04964
(PPO-max: clip((r - mu) / sigma, -delta, delta) with running mu and sigma, of all scores so far, the new ones included);
Chan, Golub and LeVeque 1979 (merging). Shapes: b = sequences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

EPSILON = 1e-8  # added to a variance


@torch.no_grad()
def shape_truncated(scores_b: Tensor, finished_b: Tensor, score: float | None, penalty: float = 0.0) -> Tensor:
    """The scores, with `score` in place of those of responses that ran out of tokens, less `penalty` for them. [b].

    A reward model has only seen finished responses, so what it says of others is a guess. None leaves that guess.
    """
    assert scores_b.shape == finished_b.shape
    replaced = scores_b if score is None else torch.full_like(scores_b, score)
    return torch.where(finished_b, scores_b, replaced - penalty)


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance of all numbers seen so far: `num` numbers of mean `mean`, and the sum of their squared
    distances from it.

    Immutable. Batches are merged (Chan et al. 1979), so that the result is that of all numbers together, whatever the
    batches were, and no large sum of squares is formed. The fields are all that a checkpoint needs.
    """

    num: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def variance(self) -> float:
        """The biased one; 0 before there is a number."""
        return self.squares / self.num if self.num else 0.0

    def updated(self, values: Tensor) -> Self:
        """With these numbers, of any shape and any number, added."""
        if values.numel() == 0:
            return self
        values = values.detach().double()
        num, mean = values.numel(), float(values.mean())
        apart, both = mean - self.mean, self.num + num
        assert math.isfinite(apart), "a score that is not finite stops the iteration before this"
        squares = float(((values - mean) ** 2).sum())
        merged = self.squares + squares + apart**2 * self.num * num / both
        return type(self)(both, self.mean + apart * num / both, merged)


@torch.no_grad()
def normalise(values: Tensor, moments: Moments) -> Tensor:
    """(values - mean) / standard deviation. Zeros where all numbers so far were these, and equal."""
    return (values - moments.mean) / math.sqrt(moments.variance + EPSILON)

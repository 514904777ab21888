"""KL(policy || reference): estimators from samples of the policy, and controllers of its coefficient.

Estimators: Schulman 2020, "Approximating KL divergence". Control: Ziegler et al. 2019, section 2.2.
Everything is in nats. The estimators are per token; anything that a target is set for is per sequence (summed).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """log(policy / reference) of each sampled token: unbiased, but may be negative. Any shape."""
    return logprobs - reference_logprobs


def k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Half the squared log ratio of each sampled token: never negative, biased, low variance. Any shape."""
    return 0.5 * (logprobs - reference_logprobs) ** 2


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """(r - 1) - log r with r = reference / policy, of each sampled token: unbiased and never negative. Any shape."""
    log_r = reference_logprobs - logprobs
    return torch.expm1(log_r) - log_r


def sequence_kl(logprobs: Tensor, reference_logprobs: Tensor, response_mask: Tensor) -> Tensor:
    """The k1 estimate of each sequence, [b] nats: log(policy / reference) summed over its response tokens.

    All inputs [b, t]; the mask selects response tokens, and what stands elsewhere is never read.
    """
    assert logprobs.shape == reference_logprobs.shape == response_mask.shape
    return torch.where(response_mask, k1(logprobs, reference_logprobs), 0.0).sum(dim=-1)


class KLController(Protocol):
    """Gives the KL coefficient of the next iteration. Immutable: update() returns the next controller."""

    @property
    def coef(self) -> float: ...

    def update(self, observed_kl: float, num_sequences: int) -> Self:
        """observed_kl: mean per sequence, nats. num_sequences: how many were sampled since the last update."""
        ...

    def state_dict(self) -> dict[str, float]:
        """What changes over a run; the rest is configuration."""
        ...

    def with_state(self, state: Mapping[str, float]) -> Self:
        """The same configuration, going on from a state_dict()."""
        ...


@dataclass(frozen=True, slots=True)
class FixedKL:
    """The same coefficient throughout."""

    coef: float

    def update(self, observed_kl: float, num_sequences: int) -> Self:
        return self

    def state_dict(self) -> dict[str, float]:
        return {"coef": self.coef}

    def with_state(self, state: Mapping[str, float]) -> Self:
        return replace(self, coef=state["coef"])


@dataclass(frozen=True, slots=True)
class AdaptiveKL:
    """Ziegler's proportional controller, which steers the KL of the policy to a target.

        e = clip(observed / target - 1, -0.2, 0.2)        coef <- coef * (1 + e * num_sequences / horizon)

    target: nats per sequence. horizon: in sequences; the paper's K_beta is num_sequences / horizon. At a ratio above 1
    (a horizon shorter than one iteration) the coefficient would swing by more than 20 % at once, and from 5 on could
    become zero or negative and reward drift, so the ratio is held at 1.
    """

    coef: float
    target: float
    horizon: float

    def __post_init__(self) -> None:
        assert min(self.coef, self.target, self.horizon) > 0

    def update(self, observed_kl: float, num_sequences: int) -> Self:
        assert math.isfinite(observed_kl), "the learner's guard stops an iteration whose KL is not finite"
        error = min(max(observed_kl / self.target - 1, -0.2), 0.2)
        return replace(self, coef=self.coef * (1 + error * min(num_sequences / self.horizon, 1.0)))

    def state_dict(self) -> dict[str, float]:
        return {"coef": self.coef}

    def with_state(self, state: Mapping[str, float]) -> Self:
        return replace(self, coef=state["coef"])

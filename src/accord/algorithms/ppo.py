"""The clipped policy and value losses of PPO (Schulman et al. 2017, arXiv:1707.06347, eq. 7; value clipping and
metrics as in Ziegler's code).

All tensors of a call share one shape, any shape. The mask selects response tokens; what stands elsewhere is never read
and gets no gradient, even where it is NaN. The unit of both losses is a response token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from accord.algorithms.kl import k2
from accord.algorithms.loss import Loss


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_range: float = 0.2,
    dual_clip: float | None = None,
    importance_weights: Tensor | None = None,
) -> Loss:
    """-min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A), ratio = exp(logprobs - old_logprobs).

    Only logprobs carries a gradient; where the ratio is 1 that gradient is exactly -A.
    dual_clip: for A < 0 the loss is at most dual_clip * |A|, so that a ratio run away upwards cannot blow it up (Ye et
    al. 2020, arXiv:1912.09729, eq. 5; > 1, theirs is 3). importance_weights: factors for each token, for samples from
    a sampler that differs from the old policy; the metrics leave them out.
    metrics: `clip_fraction` (tokens that a clip keeps from having a gradient), `approx_kl` (k2 of new and old
    logprobs) and `ratio`.
    """
    assert logprobs.shape == old_logprobs.shape == advantages.shape == mask.shape
    assert dual_clip is None or dual_clip > 1
    # Selected before the exp: a masked NaN or overflow would come back through the gradient of `where`.
    logprobs = torch.where(mask, logprobs, 0.0)
    old_logprobs = torch.where(mask, old_logprobs, 0.0).detach()
    advantages = torch.where(mask, advantages, 0.0).detach()

    ratio = torch.exp(logprobs - old_logprobs)
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = torch.maximum(unclipped, clipped)
    cut = clipped > unclipped
    if dual_clip is not None:
        ceiling = -advantages * dual_clip
        run_away = (advantages < 0) & (loss > ceiling)
        loss, cut = torch.where(run_away, ceiling, loss), cut | run_away
    if importance_weights is not None:
        assert importance_weights.shape == mask.shape
        loss = loss * torch.where(mask, importance_weights, 0.0).detach()
    return Loss(
        total=loss.sum(),
        num_units=int(mask.sum()),
        metrics={
            "clip_fraction": cut.sum().to(ratio.dtype),
            "approx_kl": k2(logprobs, old_logprobs).detach().sum(),
            "ratio": torch.where(mask, ratio, 0.0).detach().sum(),
        },
    )


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip_range: float | None = 0.2,
) -> Loss:
    """0.5 * max((V - R)^2, (clip(V, V_old - clip_range, V_old + clip_range) - R)^2). Only values carries a gradient.

    clip_range: in units of value, None for the plain squared error.
    metrics: `value_clip_fraction` (tokens that the clip keeps from having a gradient) and `value_error`, (V - R)^2.
    """
    assert values.shape == old_values.shape == returns.shape == mask.shape
    values = torch.where(mask, values, 0.0)
    old_values = torch.where(mask, old_values, 0.0).detach()
    returns = torch.where(mask, returns, 0.0).detach()

    error = (values - returns) ** 2
    loss, cut = error, torch.zeros_like(mask)
    if clip_range is not None:
        clipped_values = torch.clamp(values, old_values - clip_range, old_values + clip_range)
        clipped_error = (clipped_values - returns) ** 2
        loss, cut = torch.maximum(error, clipped_error), clipped_error > error
    return Loss(
        total=0.5 * loss.sum(),
        num_units=int(mask.sum()),
        metrics={
            "value_clip_fraction": cut.sum().to(values.dtype),
            "value_error": error.detach().sum(),
        },
    )

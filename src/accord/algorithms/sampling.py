"""Drawing tokens from logits: the inverse of the distribution function, at one uniform number a row.

Noise over the vocabulary (Gumbel's, or what `torch.multinomial` divides by) costs more than the rest of a step of a
small model, and so does a running sum over it. Here the vocabulary is summed in blocks; the draw first finds its block,
and then its token among the block's.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_BLOCK = 256
_ROWS = 4  # whose fp64 numbers over the vocabulary stay in a processor's cache


def draw(logits_bv: Tensor, uniforms_b: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """From softmax(logits / temperature): token ids [b], and the logprobs [b] (nats) that they were drawn with.

    logits_bv: [b, vocabulary] fp32, overwritten. uniforms_b: [b] fp64 in [0, 1). The lowest token whose cumulative
    probability exceeds the uniform is drawn, so never one of probability 0.
    """
    if temperature != 1.0:
        logits_bv.div_(temperature)
    weights = logits_bv.sub_(logits_bv.amax(dim=1, keepdim=True)).exp_()
    vocabulary = weights.shape[1]
    whole = vocabulary - vocabulary % _BLOCK
    parts = [weights[:, :whole].unflatten(1, (-1, _BLOCK)).sum(dim=2), weights[:, whole:].sum(dim=1, keepdim=True)]
    cumulative = torch.cat(parts, dim=1).cumsum(dim=1, dtype=torch.float64)
    total = cumulative[:, -1:]
    wanted = _below(uniforms_b[:, None] * total, total)
    block = torch.searchsorted(cumulative, wanted, right=True)
    before = cumulative.gather(1, (block - 1).clamp(min=0)).where(block > 0, 0.0)

    ids = block * _BLOCK + torch.arange(_BLOCK, device=block.device)
    inside = weights.gather(1, ids.clamp(max=vocabulary - 1)).where(ids < vocabulary, 0.0)
    cumulative = inside.cumsum(dim=1, dtype=torch.float64)
    wanted = _below(wanted - before, cumulative[:, -1:])
    drawn = block * _BLOCK + torch.searchsorted(cumulative, wanted, right=True)
    logprobs = (weights.gather(1, drawn) / total).log().float()
    return drawn.squeeze(1), logprobs.squeeze(1)


def keep_nucleus(logits_bv: Tensor, top_p_b: Tensor, temperature: float = 1.0) -> None:
    """Makes the logits [b, vocabulary] -inf but for the nucleus: the fewest most probable tokens that under
    softmax(logits / temperature) have at least the probability top_p together (Holtzman et al. 2020, arXiv:1904.09751).

    logits_bv: fp32, overwritten. top_p_b: [b] fp64 in (0, 1]. Of equally probable tokens the lower ids are kept; one
    token always is.
    """
    for logits, top_p in zip(logits_bv.split(_ROWS), top_p_b.split(_ROWS), strict=True):
        _keep_nucleus(logits, top_p, temperature)


def _keep_nucleus(logits_bv: Tensor, top_p_b: Tensor, temperature: float) -> None:
    """Values are sorted without their places: the least one that is kept tells those that are."""
    ordered = _descending(logits_bv)
    cumulative = ordered.double().div_(temperature).softmax(dim=1).cumsum_(dim=1)
    last = ordered.shape[1] - 1
    num_above = torch.searchsorted(cumulative, top_p_b[:, None]).clamp_(max=last)
    least = ordered.gather(1, num_above)
    follows = ordered.gather(1, (num_above + 1).clamp_(max=last))
    some_equal = bool(((follows == least) & (num_above < last)).any())
    if some_equal:
        equal = logits_bv == least
        num_equal = num_above + 1 - (logits_bv > least).sum(dim=1, keepdim=True)
        logits_bv.masked_fill_(equal & (equal.cumsum(dim=1) > num_equal), -torch.inf)
    logits_bv.masked_fill_(logits_bv < least, -torch.inf)


def _descending(values: Tensor) -> Tensor:
    """Each row sorted. NumPy does it with the processor's vector instructions, many times faster than torch, which also
    finds the places that the values had."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1)).flip(1)
    return values.sort(dim=1, descending=True).values


def _below(wanted: Tensor, total: Tensor) -> Tensor:
    """Rounding may have reached the total, which no token's cumulative probability exceeds."""
    return torch.minimum(wanted, total.nextafter(torch.zeros_like(total)))

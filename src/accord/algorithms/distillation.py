"""Context distillation: KL(teacher with a context || student without it), over the tokens of given responses.

Askell et al. 2021 (arXiv:2112.00861), in the practical form of Bai et al. 2022 (arXiv:2204.05862, appendix A.1): of the
teacher the 50 most probable tokens are kept, and all others together are one more bucket, so that the KL is one of
distributions over 51. It is a lower bound of the KL over the whole vocabulary, and 0 where the buckets agree.

With p_i of the teacher, q_i of the student, and r for the rest, for one token

    KL = sum_i p_i log(p_i / q_i) + p_r log(p_r / q_r)

whose gradient in the student's logits is q_j - p_j for a kept token j, and q_j (1 - p_r / q_r) for another. As the loss
is a sum, the gradients are computed with it, row by row, and the logits over the vocabulary are never all in the
memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from accord.algorithms.loss import Loss

NUM_TOP = 50
_ROWS = 128  # whose logits over the vocabulary are in the memory at once


class TopLogprobs(NamedTuple):
    """Of n places: the k most probable tokens, ids [n, k], their logprobs [n, k] fp32, the most probable first, and
    rest [n] fp32, the log of the probability of all others together; -inf where there are none."""

    ids: Tensor
    logprobs: Tensor
    rest: Tensor


@torch.no_grad()
def top_logprobs(hidden_nd: Tensor, weight_vd: Tensor, num_top: int = NUM_TOP) -> TopLogprobs:
    """Of softmax(hidden @ weight.T), in fp32 after a product in the inputs' dtype. hidden_nd: [n, d]; weight_vd:
    [vocabulary, d]. Of a smaller vocabulary all tokens are kept."""
    found = []
    for at in range(0, len(hidden_nd), _ROWS):
        logprobs = (hidden_nd[at : at + _ROWS] @ weight_vd.T).float().log_softmax(dim=1)
        top = logprobs.topk(min(num_top, logprobs.shape[1]), dim=1)
        found.append((top.indices, top.values, logprobs.scatter(1, top.indices, -torch.inf).logsumexp(dim=1)))
    return TopLogprobs(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def bucket_kl(hidden_nd: Tensor, weight_vd: Tensor, teacher: TopLogprobs) -> Loss:
    """The sum over places of KL(teacher || softmax(hidden @ weight.T)), in nats. Units: tokens.

    hidden_nd: [n, d], weight_vd: [vocabulary, d], the student's; both gradients are computed in the inputs' dtype.
    Differentiable once. metrics: `loss`; and `top_token_agreement`, whether the student's most probable token is the
    teacher's.
    """
    assert len(hidden_nd) == len(teacher.ids) == len(teacher.logprobs) == len(teacher.rest)
    keep = torch.is_grad_enabled() and (hidden_nd.requires_grad or weight_vd.requires_grad)
    total, agreeing = _BucketKL.apply(hidden_nd, weight_vd, *teacher, keep)
    return Loss(total, len(hidden_nd), {"loss": total.detach(), "top_token_agreement": agreeing})


class _BucketKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, ids: Tensor, logprobs: Tensor, rest: Tensor, keep: bool
    ) -> tuple[Tensor, Tensor]:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        agreeing = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if keep else None
        grad_weight = torch.zeros_like(weight) if keep and ctx.needs_input_grad[1] else None
        for at in range(0, len(hidden), _ROWS):
            rows = slice(at, at + _ROWS)
            own = (hidden[rows] @ weight.T).float().log_softmax(dim=1)
            agreeing += (own.argmax(dim=1) == ids[rows, 0]).sum()
            kept = own.gather(1, ids[rows])
            others = own.scatter(1, ids[rows], -torch.inf)
            own_rest = others.logsumexp(dim=1)
            p, p_rest = logprobs[rows].exp(), rest[rows].exp()
            # Where the teacher gives 0, nothing is added, whatever the student gives (0 log 0 = 0).
            total += torch.where(p > 0, p * (logprobs[rows] - kept), 0.0).sum()
            total += torch.where(p_rest > 0, p_rest * (rest[rows] - own_rest), 0.0).sum()
            if grad_hidden is not None:
                # q_j (1 - p_r / q_r), as q_j - p_r (q_j / q_r): the share of j in the rest is at most 1, where 1 / q_r
                # could overflow.
                shares = (others - own_rest[:, None]).exp().nan_to_num(nan=0.0)
                grad = others.exp() - p_rest[:, None] * shares
                grad = grad.scatter(1, ids[rows], kept.exp() - p).to(hidden.dtype)
                grad_hidden[rows] = grad @ weight
                if grad_weight is not None:
                    grad_weight.addmm_(grad.T, hidden[rows])
        ctx.save_for_backward(*(one for one in (grad_hidden, grad_weight) if one is not None))
        ctx.mark_non_differentiable(agreeing)
        return total, agreeing

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, *of_weight = ctx.saved_tensors
        grad_weight = of_weight[0] * grad_total if of_weight else None
        return grad_hidden * grad_total, grad_weight, None, None, None, None

"""Gradients on their way to the masters: what counts, added up in fp32, and over the processes of a group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine.group import current, is_idle


def counted(loss: Loss) -> Loss:
    """As it counts here: what is computed for company only has no gradient but zeros, and nothing to count."""
    if not is_idle():
        return loss
    nothing = loss.total.new_zeros(())
    total = loss.total.where(torch.zeros_like(loss.total, dtype=torch.bool), nothing)
    return Loss(total, 0, dict.fromkeys(loss.metrics, nothing))


@torch.no_grad()
def sum_gradients(masters: Sequence[nn.Parameter]) -> None:
    """Over the processes, in place. What has no gradient in any of them has none after it."""
    group = current()
    if group.size == 1:
        return
    present = torch.tensor([float(master.grad is not None) for master in masters])
    group.sum_([present])
    learned = [master for master, there in zip(masters, present.tolist(), strict=True) if there]
    for master in learned:
        if master.grad is None:
            master.grad = torch.zeros_like(master)
    group.sum_([master.grad for master in learned if master.grad is not None])


@torch.no_grad()
def add_to_master(parameter: Tensor, *, master: Tensor) -> None:
    """The gradient that a parameter has now, of the master that it is computed from."""
    assert parameter.grad is not None
    if master.grad is None:
        master.grad = parameter.grad.to(torch.float32)
    else:
        master.grad += parameter.grad
    parameter.grad = None

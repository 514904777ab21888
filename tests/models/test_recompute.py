from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accord.models.adapters import Adapter, dropout
from accord.models.lora import Lora
from accord.models.policy import Policy
from accord.models.recompute import recompute
from accord.text.tree import Branch, Tree, TreeBatch

BASE = Path("base")  # of an adapter that is not saved
BATCH = TreeBatch.from_trees([Tree((1, 5, 9), (Branch((7, 8, 2)), Branch((11, 2)))), Tree((4,), (Branch((3, 2)),))])


def gradients(policy: Policy) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in policy.module.named_parameters() if p.grad is not None}


def learned(policy: Policy, again: bool) -> dict[str, Tensor]:
    if again:
        recompute(policy.module)
    policy.token_logprobs(BATCH).logprobs.sum().backward()
    return gradients(policy)


def both_adapters(policy: Policy, again: bool) -> dict[str, Tensor]:
    """Passes with dropout by one adapter and by another, and then their gradients."""
    policy.adapt(Lora(rank=2, dropout=0.5), BASE, seed=1)
    assert isinstance(policy.backbone, Adapter)
    first = policy.backbone
    other = Policy(policy.module, policy.template)
    other.backbone = first.copy("other")
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in (*first.parameters.values(), *other.trained.values()):
            parameter.copy_(torch.randn(parameter.shape))
    if again:
        recompute(policy.module)
    losses = []
    for number, one in enumerate((policy, other)):
        with dropout(policy.module, seed=number):
            losses.append(one.token_logprobs(BATCH).logprobs.sum())
    policy.without_adapter().token_logprobs(BATCH)
    torch.stack(losses).sum().backward()
    return gradients(policy)


@pytest.mark.parametrize("work", [learned, both_adapters])
def test_gradients_are_the_same_to_the_last_bit(
    tiny_model: Path, work: Callable[[Policy, bool], dict[str, Tensor]]
) -> None:
    found = []
    for again in (False, True):
        policy = Policy.load(tiny_model)
        found.append(work(policy, again))
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(gradient, found[1][name]) for name, gradient in found[0].items())
    assert any(bool(gradient.any()) for gradient in found[0].values())


def kept_bytes(policy: Policy) -> int:
    """What a pass keeps for its backward, within layers and without."""
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in policy.module.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = policy.scoring_states(BATCH)
    assert states.requires_grad
    return sum(size for at, size in seen.items() if at not in weights)


def test_of_layers_their_inputs_are_kept(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    before = kept_bytes(policy)
    recompute(policy.module)
    recompute(policy.module)  # asked for again
    assert kept_bytes(policy) < before / 3

"""The models of on-policy training on as few backbones as adapters allow.

The policy's backbone, frozen, carries the adapter "policy"; with its adapters off it is the reference. A reward model
that was itself trained as an adapter of the same weights becomes the adapter "reward" on it, and the value model a copy
of that, "value". A reward model that was trained in full is held once, frozen, and the value model is an adapter on it
that starts as it. So there are one or two backbones where full fine-tuning holds four.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from accord.models.adapters import ADAPTER, Adapter, Bare, adapts, new_adapter, open_adapter
from accord.models.compute import hold
from accord.models.folders import load_config, load_tokenizer
from accord.models.lora import Lora
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.seeds import derive_seed
from accord.text.template import Template


@dataclass(frozen=True, slots=True)
class SharedPolicy:
    """What is trained is in fp32. reference, reward: None if there was none to share."""

    policy: Policy
    reference: Policy | None
    reward: ScalarModel | None


@dataclass(frozen=True, slots=True)
class SharedModels(SharedPolicy):
    """With a value model."""

    value: ScalarModel


def share_policy(
    start: Path, lora: Lora, seed: int, *, reference: Path, reward: Path | None, dtype: torch.dtype = torch.float32
) -> SharedPolicy:
    """The models for a policy that starts from the folder `start`, for a method without a value model of its own.

    reference: the reference's folder; if it is another than `start` it is left to the caller. reward: the folder of a
    reward model with the policy's own vocabulary, if there is one; if it is no adapter of `start`, it is left to the
    caller, too. dtype: of what is frozen.
    """
    policy, bare, own = _on_one_backbone(start, lora, seed, reference, reward)
    _cast_frozen(policy, dtype)
    return SharedPolicy(policy, bare, own)


def share(
    start: Path,
    lora: Lora,
    seed: int,
    *,
    reference: Path,
    reward: Path | None,
    value_from: Literal["reward", "policy"] = "reward",
    dtype: torch.dtype = torch.float32,
) -> SharedModels:
    """As `share_policy`, with a value model.

    value_from: what the value model is an adapter of, and starts as; from the policy, or without a reward model, it
    says 0. One that starts from an adapter has that adapter's rank, not `lora`'s. dtype: of what is frozen, cast before
    the next model is loaded.
    """
    policy, bare, own = _on_one_backbone(start, lora, seed, reference, reward)
    value_seed = derive_seed(seed, "value adapter")
    if reward is None or value_from == "policy":
        adapter = new_adapter(policy.module, "value", lora, start, value_seed)
        head = nn.Parameter(torch.zeros(1, policy.head.shape[1]))
        value = ScalarModel(policy.module, policy.template, backbone=adapter, head=head, normalisation=Normalisation())
        _cast_frozen(policy, dtype)
        return SharedModels(policy, bare, own, value)
    if own is not None:
        assert isinstance(own.backbone, Adapter)
        model, adapter = own, own.backbone.copy("value")
        _cast_frozen(policy, dtype)
    else:
        _cast_frozen(policy, dtype)
        model = ScalarModel.load(reward)
        adapter = new_adapter(model.module, "value", lora, reward, value_seed)
        model.backbone = Bare(model.module)
        model.head.requires_grad_(False)
        _cast_frozen(model, dtype)
    value = ScalarModel(
        model.module,
        model.template,
        backbone=adapter,
        head=nn.Parameter(model.head.detach().clone()),
        normalisation=model.normalisation,
    )
    value.start_normalised()
    return SharedModels(policy, bare, model, value)


def _on_one_backbone(
    start: Path, lora: Lora, seed: int, reference: Path, reward: Path | None
) -> tuple[Policy, Policy | None, ScalarModel | None]:
    """The policy, the reference and the reward model, as far as they are adapters of `start`; nothing is cast yet."""
    policy = Policy.load(start)
    policy.adapt(lora, start, derive_seed(seed, "policy adapter"))
    bare = policy.without_adapter() if reference.resolve() == start.resolve() else None
    if reward is None or not adapts(reward, start):
        return policy, bare, None
    frozen, weight = open_adapter(policy.module, "reward", reward.with_name(ADAPTER), start)
    model = ScalarModel(
        policy.module,
        Template(load_tokenizer(reward)),
        backbone=frozen,
        head=nn.Parameter(weight, requires_grad=False),
        normalisation=Normalisation.of(load_config(reward)),
    )
    return policy, bare, model


def _cast_frozen(model: Policy | ScalarModel, dtype: torch.dtype) -> None:
    """Once all adapters are in: peft gives a new one the dtype of its layer. In a group a backbone that is to be split
    is, a layer at a time: no device has it whole."""
    hold(model.module, dtype, adapted=True)

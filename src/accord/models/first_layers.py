"""A model's first layers alone: a smaller model of the same family, as a proxy that knows less than the whole."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from accord.errors import UserError


def check_num_layers(num_layers: int, total: int, where: str) -> None:
    """Raises UserError when a model has fewer layers than are wanted of it."""
    if num_layers > total:
        what = f"the model has {total} layers, and {num_layers} are wanted"
        remedy = f"Set num_layers to {total} or less, or leave it out for all of them."
        raise UserError(what, where=where, remedy=remedy)


def keep_first_layers(module: PreTrainedModel, num_layers: int) -> None:
    """Takes the layers after the first `num_layers` out, in place, and says so in the config. The last norm and what
    comes after it stay. Raises UserError when the model has fewer layers."""
    config, backbone = module.config, getattr(module, module.base_model_prefix)
    total = config.num_hidden_layers
    check_num_layers(num_layers, total, "num_layers")
    stacks = [name for name, child in backbone.named_children() if isinstance(child, nn.ModuleList)]
    stack = next((name for name in stacks if len(getattr(backbone, name)) == total), None)
    if stack is None:
        raise UserError(
            f"the layers of the architecture {config.model_type!r} cannot be told apart",
            where="num_layers",
            remedy="Leave num_layers out.",
        )
    setattr(backbone, stack, getattr(backbone, stack)[:num_layers])
    config.num_hidden_layers = num_layers
    if isinstance(types := getattr(config, "layer_types", None), list):
        config.layer_types = types[:num_layers]

"""Where a decoder's layers are, whatever its architecture calls them."""

from __future__ import annotations

from torch import nn


def backbone_of(module: nn.Module) -> nn.Module:
    """The decoder without its head."""
    backbone = getattr(module, str(getattr(module, "base_model_prefix", "")), module)
    assert isinstance(backbone, nn.Module)
    return backbone


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The decoder's layers: the longest list of modules that there is."""
    lists = [part for part in backbone_of(module).modules() if isinstance(part, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))

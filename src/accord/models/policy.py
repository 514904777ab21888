"""A policy: a causal language model with its template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from accord.algorithms.likelihood import TokenLogprobs, token_logprobs
from accord.models.adapters import Adapter, Backbone, Bare, new_adapter
from accord.models.attention import Layout, tree_attention
from accord.models.compute import device_of, dtype_of, hold
from accord.models.folders import load_module, load_tokenizer, save_module
from accord.models.lora import Lora
from accord.text.template import Template
from accord.text.tree import TreeBatch


def hidden_states(backbone: Backbone, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    """The last hidden states as rows: [B * T, d] from ids and positions [B, T]."""
    out = backbone(input_ids=ids, position_ids=positions, use_cache=False, layout=layout)
    rows: Tensor = out.last_hidden_state.flatten(0, 1)
    return rows


def tree_hidden_states(backbone: Backbone, batch: TreeBatch, rows: Tensor | None = None) -> Tensor:
    """[T, d] for a batch of trees, or of some of its places [N] the states [N, d]. On the backbone's device."""
    device = device_of(backbone)
    layout = tree_attention(batch, device, dtype_of(backbone))
    states = hidden_states(backbone, batch.ids[None].to(device), batch.positions[None].to(device), layout)
    return states if rows is None else states.index_select(0, rows.to(device))


class Policy:
    """What samples responses and gives their log-probabilities."""

    def __init__(self, module: PreTrainedModel, template: Template) -> None:
        self.module, self.template = module, template
        self.backbone: Backbone = getattr(module, module.base_model_prefix)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype | None = None) -> Policy:
        """dtype: in which it is computed on alone (None: it will be trained, and is in fp32)."""
        module = load_module(AutoModelForCausalLM, folder)
        hold(module, dtype)
        return cls(module, Template(load_tokenizer(folder)))

    def adapt(self, lora: Lora, base: Path, seed: int) -> None:
        """From here on an adapter is all that is trained. base: the folder that this policy was loaded from."""
        self.backbone = new_adapter(self.module, "policy", lora, base, seed)

    def without_adapter(self) -> Policy:
        """The policy that `adapt` was called on, as it was, in the same memory."""
        bare = Policy(self.module, self.template)
        bare.backbone = Bare(self.module)
        return bare

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that a learner trains, by name: the adapter's, or all."""
        return self.backbone.parameters if isinstance(self.backbone, Adapter) else dict(self.module.named_parameters())

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """What it computes with, by the names of a folder's files: an adapter is merged."""
        if isinstance(self.backbone, Adapter):
            return self.backbone.merged()
        return ((name, parameter.detach()) for name, parameter in self.module.named_parameters())

    def save(self, folder: Path, masters: Mapping[str, Tensor]) -> None:
        """An ordinary folder that AutoModelForCausalLM opens; of an adapted policy also its adapter, beside it."""
        if isinstance(self.backbone, Adapter):
            self.backbone.save(AutoModelForCausalLM, self.template, folder, masters)
        else:
            save_module(self.module, self.template, folder, masters)

    @property
    def head(self) -> Tensor:
        """The language-model head's weight, [vocabulary, d]."""
        weight = self.module.get_output_embeddings().weight
        assert isinstance(weight, Tensor)
        return weight

    def token_logprobs(
        self, batch: TreeBatch, temperature: float = 1.0, *, entropy_gradient: bool = False
    ) -> TokenLogprobs:
        """Of the batch's N scored tokens, under softmax(logits / temperature)."""
        states = self.scoring_states(batch)
        return self.logprobs_of(states, batch.targets, temperature, entropy_gradient=entropy_gradient)

    def scoring_states(self, batch: TreeBatch) -> Tensor:
        """[N, d]: the last hidden states of the rows that score the batch's tokens, for the head, and for any other."""
        return tree_hidden_states(self.backbone, batch, batch.scoring_rows)

    def logprobs_of(
        self, states: Tensor, targets: Tensor, temperature: float = 1.0, *, entropy_gradient: bool = False
    ) -> TokenLogprobs:
        """Of tokens [N], from `scoring_states`; in the main memory, wherever the states are."""
        targets = targets.to(states.device)
        found = token_logprobs(states, self.head, targets, temperature, entropy_gradient=entropy_gradient)
        return TokenLogprobs(*(of_tokens.cpu() for of_tokens in found))

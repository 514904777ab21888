"""A policy: a causal language model with its template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from accord.algorithms.likelihood import TokenLogprobs, token_logprobs
from accord.models.attention import Layout, TreeAttention
from accord.models.folders import cast_for_compute, dtype_of, load_module, load_tokenizer, save_module
from accord.text.template import Template
from accord.text.tree import TreeBatch


def hidden_states(backbone: PreTrainedModel, ids: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    """The last hidden states as rows: [B * T, d] from ids and positions [B, T]."""
    out = backbone(input_ids=ids, position_ids=positions, use_cache=False, layout=layout)
    rows: Tensor = out.last_hidden_state.flatten(0, 1)
    return rows


def tree_hidden_states(backbone: PreTrainedModel, batch: TreeBatch) -> Tensor:
    """[B * T, d] for a batch of trees."""
    layout = TreeAttention(batch.visible, dtype_of(backbone))
    return hidden_states(backbone, batch.ids, batch.positions, layout)


class Policy:
    """What samples responses and gives their log-probabilities."""

    def __init__(self, module: PreTrainedModel, template: Template) -> None:
        self.module, self.template = module, template
        self.backbone: PreTrainedModel = getattr(module, module.base_model_prefix)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> Policy:
        module = load_module(AutoModelForCausalLM, folder)
        cast_for_compute(module, dtype)
        return cls(module, Template(load_tokenizer(folder)))

    def save(self, folder: Path, masters: Mapping[str, Tensor]) -> None:
        """An ordinary folder that AutoModelForCausalLM opens."""
        save_module(self.module, self.template, folder, masters)

    @property
    def head(self) -> Tensor:
        """The language-model head's weight, [vocabulary, d]."""
        weight = self.module.get_output_embeddings().weight
        assert isinstance(weight, Tensor)
        return weight

    def token_logprobs(self, batch: TreeBatch, temperature: float = 1.0) -> TokenLogprobs:
        """Of the batch's N scored tokens, under softmax(logits / temperature)."""
        rows = tree_hidden_states(self.backbone, batch).index_select(0, batch.scoring_rows)
        return token_logprobs(rows, self.head, batch.targets, temperature)

"""A scalar model: a decoder with one number a token. Reward and value models are both this.

On disk it is what AutoModelForSequenceClassification(num_labels=1) opens, which gives the raw score: the head has no
bias. What normalises the score, gain * (raw - offset), stands in config.json as `score_offset` and `score_gain` and is
applied by `accord.rewards` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from accord.models.folders import cast_for_compute, load_module, load_tokenizer, save_module
from accord.models.policy import tree_hidden_states
from accord.text.template import Template
from accord.text.tree import TreeBatch


@dataclass(frozen=True, slots=True)
class Normalisation:
    """normalised score = gain * (raw score - offset)"""

    offset: float = 0.0
    gain: float = 1.0


class ScalarModel:
    """A backbone and a linear head without bias, the head in fp32."""

    def __init__(self, module: PreTrainedModel, template: Template) -> None:
        self.module, self.template = module, template
        self.backbone: PreTrainedModel = getattr(module, module.base_model_prefix)
        self._shift = 0.0

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> ScalarModel:
        """From a scalar model's folder."""
        module = load_module(AutoModelForSequenceClassification, folder, num_labels=1)
        cast_for_compute(module, dtype)
        return cls(module, Template(load_tokenizer(folder)))

    @classmethod
    def from_policy(cls, folder: Path, seed: int) -> ScalarModel:
        """A policy's backbone in fp32 under a new head, drawn from N(0, 1 / (d + 1)) (Stiennon et al. 2020's code)."""
        model = cls.load(folder)
        weight = model.head
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(weight.shape, generator=generator) / (weight.shape[1] + 1) ** 0.5
        weight.data.copy_(drawn)
        return model

    @classmethod
    def value_from_reward(cls, folder: Path) -> ScalarModel:
        """A value model, in fp32, that starts as a reward model (Stiennon et al. 2020), in its normalised units."""
        model = cls.load(folder)
        normalisation = model.normalisation
        model.head.data.mul_(normalisation.gain)
        model._shift = -normalisation.gain * normalisation.offset
        return model

    def save(self, folder: Path, masters: Mapping[str, Tensor], normalisation: Normalisation) -> None:
        """An ordinary folder, with the normalisation in its config.json."""
        self.module.config.score_offset = normalisation.offset
        self.module.config.score_gain = normalisation.gain
        save_module(self.module, self.template, folder, masters)

    @property
    def head(self) -> Tensor:
        """[1, d]"""
        weight = self.module.get_parameter("score.weight")
        return weight

    @property
    def normalisation(self) -> Normalisation:
        config = self.module.config
        return Normalisation(float(getattr(config, "score_offset", 0.0)), float(getattr(config, "score_gain", 1.0)))

    def scores(self, batch: TreeBatch) -> Tensor:
        """[S] fp32: the raw score of each branch, read at its last token."""
        return self._read(batch, batch.last_rows)

    def values(self, batch: TreeBatch) -> Tensor:
        """[N] fp32: at the row that scores each token, that is, before the token is seen."""
        return self._read(batch, batch.scoring_rows) + self._shift

    def _read(self, batch: TreeBatch, rows: Tensor) -> Tensor:
        return (tree_hidden_states(self.backbone, batch).index_select(0, rows).float() @ self.head.T).squeeze(1)

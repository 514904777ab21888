"""A scalar model: a decoder with one number a token. Reward and value models are both this.

On disk it is what AutoModelForSequenceClassification(num_labels=1) opens, which gives the raw score: the head has no
bias. What normalises the score, gain * (raw - offset), stands in config.json as `score_offset` and `score_gain` and is
applied by `accord.rewards` only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from accord.models.adapters import HEAD, Adapter, Backbone, new_adapter
from accord.models.compute import hold
from accord.models.first_layers import keep_first_layers
from accord.models.folders import load_module, load_tokenizer, save_module
from accord.models.lora import Lora
from accord.models.policy import tree_hidden_states
from accord.text.template import Template
from accord.text.tree import TreeBatch


@dataclass(frozen=True, slots=True)
class Normalisation:
    """normalised score = gain * (raw score - offset)"""

    offset: float = 0.0
    gain: float = 1.0

    @classmethod
    def of(cls, config: PreTrainedConfig) -> Normalisation:
        """What a config.json says."""
        return cls(float(getattr(config, "score_offset", 0.0)), float(getattr(config, "score_gain", 1.0)))


class ScalarModel:
    """A backbone and a linear head without bias, the head in fp32.

    By default the module's own two. `backbone` and `head` [1, d]: others, where several models share a module, which
    then may be a language model's.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        template: Template,
        *,
        backbone: Backbone | None = None,
        head: nn.Parameter | None = None,
        normalisation: Normalisation | None = None,
    ) -> None:
        self.module, self.template = module, template
        self.backbone: Backbone = backbone or getattr(module, module.base_model_prefix)
        self.head = module.get_parameter(HEAD) if head is None else head
        self.normalisation = normalisation or Normalisation.of(module.config)
        self._shift = 0.0

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype | None = None, *, new_head: bool = False) -> ScalarModel:
        """From a scalar model's folder; with `new_head` also from a policy's, and the caller fills the head. dtype: in
        which it is computed on alone (None: it will be trained, and is in fp32)."""
        new = (HEAD,) if new_head else ()
        module = load_module(AutoModelForSequenceClassification, folder, new=new, num_labels=1)
        hold(module, dtype)
        return cls(module, Template(load_tokenizer(folder)))

    @classmethod
    def from_policy(cls, folder: Path, seed: int, num_layers: int | None = None) -> ScalarModel:
        """A policy's backbone in fp32 under a new head, drawn from N(0, 1 / (d + 1)) (Stiennon et al. 2020's code).
        num_layers: its first so many layers alone (None: all)."""
        model = cls.load(folder, new_head=True)
        if num_layers is not None:
            keep_first_layers(model.module, num_layers)
        model.head.data.copy_(drawn_head(model.head.shape[1], seed))
        return model

    @classmethod
    def value_from_reward(cls, folder: Path) -> ScalarModel:
        """A value model, in fp32, that starts as a reward model (Stiennon et al. 2020), in its normalised units."""
        model = cls.load(folder)
        model.start_normalised()
        return model

    @classmethod
    def value_from_policy(cls, folder: Path) -> ScalarModel:
        """A value model, in fp32, that starts as a policy's backbone and says 0 everywhere: for rewards that are no
        model, or whose tokens are not the policy's."""
        model = cls.load(folder, new_head=True)
        model.head.data.zero_()
        return model

    def start_normalised(self) -> None:
        """From here on values are in the units of the normalised score."""
        self.head.data.mul_(self.normalisation.gain)
        self._shift = -self.normalisation.gain * self.normalisation.offset

    def adapt(self, lora: Lora, base: Path, seed: int) -> None:
        """From here on an adapter and the head are all that is trained. base: the folder the backbone is from."""
        self.backbone = new_adapter(self.module, "reward", lora, base, seed)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that a learner trains, by name: the adapter's and the head, or all."""
        if isinstance(self.backbone, Adapter):
            return {**self.backbone.parameters, HEAD: self.head}
        return dict(self.module.named_parameters())

    def save(self, folder: Path, masters: Mapping[str, Tensor], normalisation: Normalisation) -> None:
        """An ordinary folder, with the normalisation in its config.json; of an adapted model also its adapter."""
        settings = {"score_offset": normalisation.offset, "score_gain": normalisation.gain}
        if isinstance(self.backbone, Adapter):
            self.backbone.save(AutoModelForSequenceClassification, self.template, folder, masters, **settings)
        else:
            for name, value in settings.items():
                setattr(self.module.config, name, value)
            save_module(self.module, self.template, folder, masters)

    def scores(self, batch: TreeBatch) -> Tensor:
        """[S] fp32: the raw score of each branch, read at its last token."""
        return self._read(batch, batch.last_rows)

    def values(self, batch: TreeBatch) -> Tensor:
        """[N] fp32: at the row that scores each token, that is, before the token is seen."""
        return self._read(batch, batch.scoring_rows) + self._shift

    def _read(self, batch: TreeBatch, rows: Tensor) -> Tensor:
        return read_out(tree_hidden_states(self.backbone, batch, rows), self.head)


def read_out(states: Tensor, head: Tensor) -> Tensor:
    """[N] fp32, in the main memory: hidden states [N, d] through a head [1, d]."""
    return (states.float() @ head.to(states.device).T).squeeze(1).cpu()


def drawn_head(width: int, seed: int) -> Tensor:
    """The weight [1, width] of a new head, drawn from N(0, 1 / (width + 1))."""
    drawn = torch.randn((1, width), generator=torch.Generator().manual_seed(seed))
    return drawn / math.sqrt(width + 1)


class ValueHead:
    """A linear head in fp32, without bias, on the hidden states of a policy, whose backbone learns from both.

    It starts at 0 (Huang et al. 2023, "The N Implementation Details of RLHF with PPO"), and no folder keeps it.
    """

    NAME = "value_head.weight"

    def __init__(self, width: int) -> None:
        self.weight = nn.Parameter(torch.zeros(1, width))

    def __call__(self, states: Tensor) -> Tensor:
        """[N] fp32 from hidden states [N, d]."""
        return read_out(states, self.weight)

"""The exponential moving average of a policy's weights, which InstructGPT keeps in place of the last ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Average:
    """average <- decay * average + (1 - decay) * weights, in fp32 (Ouyang et al. 2022, appendix C.4: decay 0.992).

    It starts at the weights that training starts from, and is all of its own state.
    """

    def __init__(self, decay: float, weights: Mapping[str, Tensor]) -> None:
        assert 0 < decay < 1
        self._decay = decay
        self.weights = {name: weight.clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Once an iteration."""
        for name, average in self.weights.items():
            average.lerp_(weights[name], 1 - self._decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from the `weights` of another."""
        for name, average in self.weights.items():
            average.copy_(tensors[name])

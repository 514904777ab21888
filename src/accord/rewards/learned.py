"""A trained reward model as a reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from accord.engine.scorer import per_branch
from accord.models.scalar import Normalisation, ScalarModel
from accord.types import Prompt, Response


class LearnedReward:
    """The reward model's normalised score of the whole assistant's turn, read at the end of the turn.

    Normalised: mean 0 and variance 1 over responses that the model was trained on. The text is rendered with the
    model's own template, prefill and response as one text, as anybody would render it who has the text alone. A
    response that ran out of tokens is scored as if it ended there, because the model has seen nothing else; what to
    make of that is the caller's to say (`algorithms.shaping.shape_truncated`).
    """

    def __init__(self, model: ScalarModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype) -> LearnedReward:
        return cls(ScalarModel.load(folder, dtype))

    @property
    def normalisation(self) -> Normalisation:
        return self.model.normalisation

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[P * K], normalised."""
        template = self.model.template
        trees = [template.scored_tree(prompt, of_prompt) for prompt, of_prompt in zip(prompts, responses, strict=True)]
        scores = per_branch(trees, self.model.scores, advance=advance)
        return self.normalisation.gain * (torch.cat(scores) - self.normalisation.offset)

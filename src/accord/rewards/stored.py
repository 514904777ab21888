"""What every reward that a step made has: the offset and gain that it was stored with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from accord.engine.reward import Reward
from accord.models.scalar import Normalisation
from accord.types import Prompt, Response

ProbabilityUnit = Literal["logit", "probability"]  # what the raw score of a reward says of a probability
Scores = TypeVar("Scores", Tensor, np.ndarray)


class StoredReward(Reward, Protocol):
    """A reward with the offset and gain that it was stored with."""

    @property
    def normalisation(self) -> Normalisation: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """A reward of responses that were scored before: what was said of them, [P * K]. It has no other answer."""

    scores: Tensor
    normalisation: Normalisation

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Of the same responses, [P * K]."""
        assert len(self.scores) == sum(len(of_prompt) for of_prompt in responses), "these are other responses"
        if advance:
            advance(len(prompts))
        return self.scores


def raw(reward: StoredReward, scores: Scores) -> Scores:
    """The scores of a reward as they were before its offset and gain."""
    return scores / reward.normalisation.gain + reward.normalisation.offset


def probabilities(
    reward: StoredReward, unit: ProbabilityUnit, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]
) -> np.ndarray:
    """[P * K]: what a reward says of how probable it is that each response is good, such as safe to give."""
    scores = raw(reward, reward.score(prompts, responses)).double()
    return (torch.sigmoid(scores) if unit == "logit" else scores).numpy()

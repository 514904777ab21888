"""What every reward that a step made has: the offset and gain that it was stored with."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from torch import Tensor

from accord.engine.reward import Reward
from accord.models.scalar import Normalisation

Scores = TypeVar("Scores", Tensor, np.ndarray)


class StoredReward(Reward, Protocol):
    """A reward with the offset and gain that it was stored with."""

    @property
    def normalisation(self) -> Normalisation: ...


def raw(reward: StoredReward, scores: Scores) -> Scores:
    """The scores of a reward as they were before its offset and gain."""
    return scores / reward.normalisation.gain + reward.normalisation.offset

"""An ensemble of reward models on one backbone, as one reward."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from accord.engine.ranking.members import open_members
from accord.models.scalar import Normalisation
from accord.rewards.combination import Combination, OfSeveral
from accord.rewards.functions import MARK
from accord.rewards.learned import LearnedReward
from accord.store.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class EnsembleReward(OfSeveral):
    """The members' normalised scores, combined. The combination is not normalised again: the worst of several scores
    of mean 0 has a lower mean, which is the point of it."""

    rewards: Sequence[LearnedReward]
    combination: Combination

    @property
    def normalisation(self) -> Normalisation:
        """None: each member has its own."""
        return Normalisation()

    @classmethod
    def load(cls, artifact: Artifact, dtype: torch.dtype) -> EnsembleReward:
        """The backbone once, with all adapters. Raises UserError when a file was changed."""
        artifact.verify()
        row = json.loads(artifact.file(MARK).read_text(encoding="utf-8"))
        return cls.of(artifact.path, Combination.of_json(row["combination"]), dtype)

    @classmethod
    def of(cls, folder: Path, combination: Combination, dtype: torch.dtype) -> EnsembleReward:
        """From the folders of a base and of members."""
        return cls([LearnedReward(model) for model in open_members(folder, dtype)], combination)

    def combined(self, scores_mn: Tensor) -> Tensor:
        """[P * K] from what `members` gave."""
        return self.combination(scores_mn)


def save_ensemble(folder: Path, combination: Combination) -> None:
    """Writes how the members are combined; each member's folder holds its adapter, head and normalisation."""
    row = {"combination": combination.to_json()}
    (folder / MARK).write_text(json.dumps(row, indent=2, allow_nan=False) + "\n", encoding="utf-8")

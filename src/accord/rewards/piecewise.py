"""A reward that is one of several, by rule (`accord.algorithms.piecewise`). Of learned rewards it takes the raw scores.

A threshold on a probability means what it says only on a calibrated score, without the offset and gain that bring
scores to mean 0 and variance 1 for training. So every reward but the last is read raw, and its probability is
sigmoid(slope * raw + bias). The last, the fallback, is read in the units of its own step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from accord.algorithms.calibration import Platt
from accord.algorithms.piecewise import Rule, chosen_reward, fails
from accord.models.scalar import Normalisation
from accord.rewards.combined import parts_of
from accord.rewards.functions import MARK
from accord.rewards.stored import StoredReward, raw
from accord.store.artifacts import Artifact
from accord.types import Prompt, Response

Scale = Literal["logit", "probability"]


@dataclass(frozen=True, slots=True)
class Pieces:
    """rule: which reward counts. thresholds, calibrations: of each reward but the last. scale: the reward is the logit
    of the probability (for whitening, as in Llama 2), or the probability."""

    rule: Rule
    thresholds: tuple[float, ...]
    calibrations: tuple[Platt, ...]
    scale: Scale

    def save(self, folder: Path) -> None:
        """Writes them; which rewards they are of stands in the manifest."""
        (folder / MARK).write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Pieces:
        row = json.loads((folder / MARK).read_text(encoding="utf-8"))
        calibrations = tuple(Platt(**one) for one in row["calibrations"])
        return cls(row["rule"], tuple(row["thresholds"]), calibrations, row["scale"])


@dataclass(frozen=True, slots=True)
class PiecewiseReward:
    """Also `accord.engine.reward.Gated`."""

    rewards: Sequence[StoredReward]
    pieces: Pieces
    normalisation: Normalisation

    @classmethod
    def load(cls, artifact: Artifact, load: Callable[[Artifact], StoredReward]) -> PiecewiseReward:
        """From what a `piecewise` step wrote. load: opens each part. Raises UserError when one of them is not in the
        store any more, or was changed."""
        artifact.verify()
        return cls([load(part) for part in parts_of(artifact)], Pieces.load(artifact.path), Normalisation())

    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[P * K]."""
        return self.gated(prompts, responses, advance)[0]

    def gated(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The scores [P * K], and whether each response is under the threshold of the reward that counts, [P * K]."""
        waiting = (lambda _: advance(0)) if advance else None
        *guards, fallback = self.rewards
        scores = [guard.score(prompts, responses, waiting) for guard in guards]
        last = fallback.score(prompts, responses, advance)
        logits = torch.stack(
            [
                by.slope * raw(guard, of_guard).double() + by.bias  # as the thresholds were chosen
                for guard, of_guard, by in zip(guards, scores, self.pieces.calibrations, strict=True)
            ]
        )
        numbers = [len(of_prompt) for of_prompt in responses]
        is_safety = torch.tensor([prompt.is_safety for prompt in prompts]).repeat_interleave(torch.tensor(numbers))
        probs = torch.sigmoid(logits)
        chosen = chosen_reward(probs, is_safety, self.pieces.thresholds, self.pieces.rule)
        value = torch.cat([logits.float(), last[None]]).gather(0, chosen[None])[0]
        failing = fails(probs, chosen, self.pieces.thresholds, self.pieces.rule)
        return (value if self.pieces.scale == "logit" else torch.sigmoid(value)), failing

    @property
    def only_safety_prompts(self) -> bool:
        """Whether it lets everything pass where a prompt is no safety prompt."""
        return self.pieces.rule == "slide"

"""A simulated annotator: what people would say, made up from rewards. It signs as simulated, whatever it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from accord.engine.reward import Reward
from accord.labels.answers import GRADES
from accord.rewards.stored import ProbabilityUnit, StoredReward, probabilities
from accord.seeds import derive_seed
from accord.types import Comparison, Judgement

Gaps = tuple[float, float, float]
_LEVELS: Final = tuple(GRADES.values())


@dataclass(frozen=True, slots=True)
class SafetyLabels:
    """Who tells safe from unsafe: a response is labelled unsafe where the reward's probability of its being safe is
    below the threshold; the share `noise` of the labels is turned round."""

    reward: StoredReward
    reward_name: str
    unit: ProbabilityUnit
    threshold: float
    noise: float

    @property
    def signed(self) -> str:
        return f":safety={self.reward_name}" + (f":safety_noise={self.noise:g}" if self.noise else "")

    def label(self, comparisons: Sequence[Comparison], seed: int) -> list[tuple[bool, ...]]:
        """Whether each response of each comparison is safe."""
        prompts, responses = [c.prompt for c in comparisons], [c.responses for c in comparisons]
        found = probabilities(self.reward, self.unit, prompts, responses)
        labels, at = [], 0
        for comparison in comparisons:
            num = len(comparison.responses)
            turned = _generator(seed, "safety", comparison.id).random(num) < self.noise
            labels.append(tuple(bool(one) for one in (found[at : at + num] >= self.threshold) != turned))
            at += num
        return labels


@dataclass(frozen=True, slots=True)
class RewardAnnotator:
    """Grades are a reward's scores, and `noise` is the share of comparisons judged in reverse.

    Reversed: the best response gets the grade of the worst, and so on in between, so that differences keep their size.
    What is drawn depends on the seed and the comparison alone.

    gaps: of scores, at which `slightly better`, `better` and `significantly better` begin. With them two responses are
    graded as people's answers are, by how much the better one is better, and not by the scores. safety: who labels the
    responses; nobody does without it.
    """

    reward: Reward
    reward_name: str
    noise: float
    seed: int
    gaps: Gaps | None = None
    safety: SafetyLabels | None = None

    @property
    def name(self) -> str:
        noise = f":noise={self.noise:g}" if self.noise else ""
        return f"simulated:{self.reward_name}{noise}" + (self.safety.signed if self.safety else "")

    def judge(self, comparisons: Sequence[Comparison]) -> list[Judgement]:
        scores = self.reward.score([c.prompt for c in comparisons], [c.responses for c in comparisons]).tolist()
        safe = self.safety.label(comparisons, self.seed) if self.safety else [()] * len(comparisons)
        judgements = []
        for comparison, labels in zip(comparisons, safe, strict=True):
            grades, scores = scores[: len(comparison.responses)], scores[len(comparison.responses) :]
            if _generator(self.seed, comparison.id).random() < self.noise:
                grades = [max(grades) + min(grades) - grade for grade in grades]
            if self.gaps is not None:
                grades = by_strength(grades, self.gaps)
            judgements.append(Judgement(comparison.id, self.name, tuple(grades), labels))
        return judgements


def by_strength(scores: Sequence[float], gaps: Gaps) -> list[float]:
    """The grades of two responses as people give them: 0, and of the better one the number of its level (equal scores:
    a tie).

    >>> by_strength([1.5, 0.25], (0.5, 1.0, 2.0)), by_strength([0.0, 0.25], (0.5, 1.0, 2.0))
    ([3.0, 0.0], [0.0, 1.0])
    """
    first, second = scores
    level = _LEVELS[sum(abs(first - second) >= gap for gap in gaps)]
    return [level * (first > second), level * (second > first)]


def _generator(seed: int, *what: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=derive_seed(seed, *what)))

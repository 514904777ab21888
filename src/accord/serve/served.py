"""What a server has: policies and rewards, by the names that clients call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from accord.errors import did_you_mean
from accord.serve.errors import Refusal
from accord.serve.reward_worker import RewardWorker
from accord.serve.worker import Worker


@dataclass(frozen=True, slots=True)
class Served:
    """best_of: each answer of a policy is the best of so many by the reward; 1: it is the policy's own."""

    workers: Mapping[str, Worker]
    rewards: Mapping[str, RewardWorker] = field(default_factory=dict)
    best_of: int = 1

    def worker(self, name: str | None) -> Worker:
        """name: None for the first one. Raises Refusal."""
        if name is None:
            name = next(iter(self.workers), "")
        if name in self.workers:
            return self.workers[name]
        if name in self.rewards:
            raise Refusal(f"{name!r} is a reward: it scores at /v1/score, and writes nothing", "model")
        raise self.unknown(name, self.workers)

    def reward(self, name: str) -> RewardWorker:
        """Raises Refusal."""
        if name in self.rewards:
            return self.rewards[name]
        if name in self.workers:
            raise Refusal(f"{name!r} is a policy: it writes, and scores nothing", "model")
        raise self.unknown(name, self.rewards)

    @property
    def best_by(self) -> RewardWorker | None:
        """Who chooses among a policy's answers."""
        return next(iter(self.rewards.values())) if self.best_of > 1 else None

    @staticmethod
    def unknown(name: str, known: Mapping[str, object]) -> Refusal:
        """The error for a model that is not served. known: those of its kind that are."""
        hint = did_you_mean(name, known) if known else "There is none of its kind."
        return Refusal(f"there is no model {name!r}. {hint}", "model", 404)

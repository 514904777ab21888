"""A sampler with weights of its own, which follows those of the policy that learns.

Before each rollout it is given the policy's weights as they are then, adapters merged, and the log-probabilities of a
few fixed sequences show that it has them (`accord.engine.agreement`). So it has no state: a run that is gone on with
gives it what the checkpoint has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from torch import Tensor

from accord.engine.agreement import TOLERANCES, check_agreement, probe_texts
from accord.engine.engines import NUM_SLOTS, EngineName
from accord.engine.on_policy.scoring import NotFinite
from accord.engine.policy_engine import PolicyEngine
from accord.engine.sampling import Engine
from accord.models.compute import dtype_of
from accord.models.policy import Policy

_REMEDY: Final = (
    "Write `engine: torch`, which samples with the learner's own weights. If it is but rounding, compute in fp32 "
    "(ACCORD_DTYPE=float32)."
)


class Pushed(Engine, Protocol):
    """An engine that can be given other weights."""

    @property
    def dtype(self) -> str:
        """In which it computes, as ACCORD_DTYPE names it."""
        ...

    def push(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """From here on it computes with these, by their names in the policy's folder, and with nothing that it read
        with those before."""
        ...


@dataclass(frozen=True, slots=True)
class Follower:
    """engine: who writes. policy: whose weights it is to have. where: the key that asked for it, in errors."""

    engine: Pushed
    policy: Policy
    where: str

    def follow(self) -> dict[str, float]:
        """Gives the engine the policy's weights, and returns how far the two are apart, for the row of metrics.

        Raises UserError when they are not the same policy, and NotFinite when the policy is none any more.
        """
        own = PolicyEngine(self.policy)
        texts = probe_texts(own)
        if not all(math.isfinite(one.logprob) for of in own.read(texts) for one in of):
            raise NotFinite(math.nan, math.nan)
        self.engine.push(self.policy.weights())
        computed = str(dtype_of(self.policy.backbone)).removeprefix("torch.")
        tolerance = max(TOLERANCES[self.engine.dtype], TOLERANCES[computed])
        found = check_agreement(self.engine, own, tolerance=tolerance, texts=texts, where=self.where, remedy=_REMEDY)
        return {"sampler/probe_per_token": found.mean, "sampler/probe_max": found.worst}


@contextmanager
def followed(policy: Policy, engine: EngineName, folder: Path, where: str) -> Iterator[Follower | None]:
    """Who follows a policy that starts from a folder, until the run is over; None: the policy samples itself.

    where: the key of the engine's name. Raises UserError when the engine cannot be opened.
    """
    if engine == "torch":
        yield None
        return
    from accord.engine import vllm_engine

    with closing(vllm_engine.VllmEngine(folder, num_slots=NUM_SLOTS, told="drawn", beside=True)) as opened:
        yield Follower(opened, policy, where)

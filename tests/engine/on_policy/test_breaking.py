"""A policy that is none, as its weights are not finite, while a rollout is drawn an update ahead."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine.guard import End, Guard, Quality
from accord.engine.on_policy.scoring import NotFinite
from accord.store.workspace import MetricsLog
from tests.engine.on_policy.test_drawing import run
from tests.fixtures.engines import Twin


class Breaks(Twin):
    """The policy is none when it is given for the rollout with this number, which is in the iteration before."""

    def __init__(self, folder: Path, at: int) -> None:
        super().__init__(folder)
        self.at = at

    def push(self, weights: Any) -> None:
        super().push(weights)
        if self.num_pushes == self.at:
            raise NotFinite(math.nan, math.nan)


def test_a_policy_that_is_none_when_it_draws_ahead_is_of_the_iteration_that_it_draws(
    tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotFinite):
        run(tiny_model, tmp_path, "rloo", engine=Breaks(tiny_model, at=3))
    rows = MetricsLog(tmp_path / "out/metrics.jsonl").read()
    assert [row["iteration"] for row in rows] == [1, 2, 3]
    assert math.isnan(rows[2]["objective/kl"])
    assert math.isfinite(rows[1]["objective/kl"])
    assert (rows[0]["policy/num_updates"] > 0, rows[1]["policy/num_updates"]) == (True, 0.0)


@pytest.mark.parametrize("num_iterations", [3, 4])
def test_a_stop_where_the_policy_is_none_is_told_also_in_the_last_iteration(
    tiny_model: Path, tmp_path: Path, num_iterations: int
) -> None:
    guard = Guard(lambda rows: End("some", "it broke", "stop"), acts=False)
    broken = Breaks(tiny_model, at=3)
    outcome, _, _ = run(tiny_model, tmp_path, "rloo", engine=broken, guard=guard, num_iterations=num_iterations)
    told = {"alarm": "some", "action": "stop", "after": 3}
    assert outcome.summary == {"num_iterations": 1, "ended_by_alarm": told}


def test_a_policy_that_breaks_when_it_draws_ahead_leaves_the_one_that_was_looked_at(
    tiny_model: Path, tmp_path: Path
) -> None:
    """In the third iteration, whose rollout has learned once: it is a candidate, and the best one here."""

    def decide(rows: Sequence[Mapping[str, Any]]) -> End | None:
        return End("some", "it broke", "rollback") if math.isnan(rows[-1]["objective/kl"]) else None

    settings: dict[str, Any] = {"watch_every": 1, "num_iterations": 5, "learning_rate": 1e-2}
    _, whole, seen = run(tiny_model, tmp_path / "asked", engine=Twin(tiny_model), **settings)
    looked = [row["watch/other"] for row in whole[:3]]
    assert looked.index(min(looked)) == 2
    guard = Guard(decide, acts=False, quality=Quality("watch/other", lower_is_better=True))
    outcome, rows, _ = run(tiny_model, tmp_path / "broken", engine=Breaks(tiny_model, at=4), guard=guard, **settings)
    assert [row.get("watch/other") for row in rows] == [*looked, None]
    assert outcome.summary["num_iterations"] == 2
    assert (outcome.summary["ended_by_alarm"]["after"], outcome.summary["ended_by_alarm"]["kept"]) == (4, 1)
    assert all(torch.equal(weight, seen.weights[1][name]) for name, weight in outcome.masters.items())

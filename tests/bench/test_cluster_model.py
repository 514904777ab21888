"""Predictions of published runs: within a factor of two, but for those that docs/cluster-costs.md says are worse."""

from __future__ import annotations

import pytest

from bench.cluster_model import PPO, TRAINING, Anchor, rate_of, rows, seconds_of, table

WORSE = {("llama-2-70b", "32xA800-80G"): (0.35, 0.5)}  # too fast by more than that


@pytest.mark.parametrize("anchor", PPO, ids=lambda one: f"{one.name}-{one.cluster}")
def test_an_iteration(anchor: Anchor) -> None:
    low, high = WORSE.get((anchor.name, anchor.cluster), (0.5, 2.0))
    assert low < seconds_of(anchor) / anchor.published < high


@pytest.mark.parametrize("anchor", TRAINING, ids=lambda one: f"{one.name}-{one.cluster}")
def test_plain_training(anchor) -> None:
    assert 0.5 < anchor.published / rate_of(anchor) < 2


def test_the_table_has_all() -> None:
    assert len(rows()) == len(PPO) + len(TRAINING) == len(table().splitlines()) - 2

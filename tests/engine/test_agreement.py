"""Two engines and whether they are the same policy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from accord.engine.agreement import agreement, check_agreement, probe_texts
from accord.engine.policy_engine import PolicyEngine
from accord.engine.readings import Reading, Text
from accord.errors import UserError
from accord.models.policy import Policy


class Said(PolicyEngine):
    """Says what it is told to."""

    def __init__(self, policy: Policy, rows: list[list[float]]) -> None:
        super().__init__(policy)
        self._rows = rows

    def read(self, texts: object) -> list[list[Reading]]:
        return [[Reading(1, logprob) for logprob in of] for of in self._rows]


TEXTS = [Text((1, 2, 3)), Text((4, 5, 6))]


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


def test_the_mean_and_the_worst_by_hand(policy: Policy) -> None:
    one = Said(policy, [[-1.0, -2.0], [-3.0, -4.0]])
    other = Said(policy, [[-1.1, -2.0], [-3.0, -4.5]])
    found = agreement(one, other, TEXTS)
    assert found.mean == pytest.approx(0.6 / 4)
    assert (found.text, found.place, found.found, found.expected) == (1, 2, -4.0, -4.5)
    assert found.worst == pytest.approx(0.5)
    assert check_agreement(one, other, tolerance=0.16, texts=TEXTS) == found


@pytest.mark.parametrize(("tolerance", "logprob"), [(0.14, -4.5), (0.2, -4.0 - 2.5), (0.2, math.nan)])
def test_too_far_apart_is_told_with_the_place(policy: Policy, tolerance: float, logprob: float) -> None:
    """On average; at one token alone; or where one of them says no number."""
    one = Said(policy, [[-1.0, -2.0], [-3.0, -4.0]])
    other = Said(policy, [[-1.1, -2.0], [-3.0, logprob]])
    with pytest.raises(UserError, match="not the same policy") as error:
        check_agreement(one, other, tolerance=tolerance, texts=TEXTS, where="ppo")
    assert str(error.value).startswith("ppo: ")
    assert f"at token 2 of sequence 1, -4 and {logprob:.4g}" in str(error.value)


def test_other_weights_are_seen(policy: Policy, tiny_model: Path) -> None:
    own, same, other = (PolicyEngine(one) for one in (policy, Policy.load(tiny_model), Policy.load(tiny_model)))
    assert check_agreement(own, same, tolerance=1e-6).worst < 1e-5
    with torch.no_grad():
        next(other._policy.module.parameters()).add_(0.02)
    with pytest.raises(UserError, match="Push the learner's weights"):
        check_agreement(own, other, tolerance=1e-4)


def test_the_sequences_are_always_the_same(policy: Policy) -> None:
    texts = probe_texts(PolicyEngine(policy))
    assert texts == probe_texts(PolicyEngine(policy))
    assert len({text.ids for text in texts}) == len(texts)
    assert all(0 <= token < 512 for text in texts for token in text.ids)

"""Which reward counts, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from accord.algorithms.piecewise import chosen_reward, fails

# Safe and unsafe responses to safety prompts, then to ordinary ones; and one on the threshold of each kind.
PROBS = torch.tensor([[0.9, 0.1, 0.9, 0.1, 0.15, 0.15]], dtype=torch.float64)
IS_SAFETY = torch.tensor([True, True, False, False, True, False])
SAFETY, HELPFUL = 0, 1


@pytest.mark.parametrize(
    ("rule", "expected", "failing"),
    [
        ("slide", [HELPFUL, SAFETY, HELPFUL, HELPFUL, SAFETY, HELPFUL], [False, True, False, False, True, False]),
        ("paper", [SAFETY, SAFETY, HELPFUL, SAFETY, SAFETY, HELPFUL], [False, True, False, True, False, False]),
        ("threshold", [HELPFUL, SAFETY, HELPFUL, SAFETY, HELPFUL, HELPFUL], [False, True, False, True, False, False]),
    ],
)
def test_two_rewards(rule: str, expected: list[int], failing: list[bool]):
    chosen = chosen_reward(PROBS, IS_SAFETY, [0.15], rule)
    assert chosen.tolist() == expected
    assert fails(PROBS, chosen, [0.15], rule).tolist() == failing


def test_the_rules_differ_where_they_are_said_to():
    slide, paper = (chosen_reward(PROBS, IS_SAFETY, [0.15], rule) for rule in ("slide", "paper"))
    assert (slide != paper).tolist() == [True, False, False, True, False, False]


def test_three_rewards_in_order():
    probs = torch.tensor([[0.1, 0.9, 0.9], [0.1, 0.2, 0.9]])
    chosen = chosen_reward(probs, torch.tensor([False] * 3), [0.15, 0.3], "threshold")
    assert chosen.tolist() == [0, 1, 2]
    assert fails(probs, chosen, [0.15, 0.3], "threshold").tolist() == [True, True, False]


def test_the_order_matters():
    """Helpfulness first: an unhelpful and unsafe response is told to be helpful."""
    safety, helpful = torch.tensor([0.1]), torch.tensor([0.1])
    first = chosen_reward(torch.stack([safety]), torch.tensor([True]), [0.15], "threshold")
    swapped = chosen_reward(torch.stack([helpful]), torch.tensor([True]), [0.15], "threshold")
    assert first.tolist() == swapped.tolist() == [0]  # the safety score in the one, the helpfulness score in the other


def test_shapes():
    with pytest.raises(AssertionError):
        chosen_reward(PROBS, IS_SAFETY, [0.1, 0.2], "slide")

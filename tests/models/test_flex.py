"""Trees through FlexAttention, in plain products as on any processor, against the products of groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accord.models import attention
from accord.models.flex import FlexTreeAttention
from accord.models.policy import Policy
from accord.text.tree import PROMPT, Branch, Tree, TreeBatch

TREES = [
    Tree((5, 6, 7), (Branch((20, 21, 2)), Branch((30,)), Branch((40, 41, 42, 43, 2)))),
    Tree((5, 6, 7, 8, 9), (Branch((60,)), Branch((70, 71, 72)))),
    Tree((8, 9), (Branch((50, 51)),)),
]
BATCH = TreeBatch.from_trees(TREES)

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without")


@pytest.fixture
def flex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "accord.models.policy.tree_attention", lambda batch, device, dtype: FlexTreeAttention(batch, device)
    )


def test_logprobs_are_those_of_the_groups(tiny_model: Path, request: pytest.FixtureRequest) -> None:
    """Without gradients: torch has none of it on a processor. `python -m bench gpu-agree` compares those."""
    policy = Policy.load(tiny_model)
    with torch.no_grad():
        expected = policy.token_logprobs(BATCH).logprobs
        request.getfixturevalue("flex")
        found = policy.token_logprobs(BATCH).logprobs
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("flex")
def test_a_broken_mask_would_be_seen(tiny_model: Path) -> None:
    """Negative control: where all is prompt, branches see each other."""
    policy = Policy.load(tiny_model)
    blind = replace(BATCH, branch_of_place=torch.full_like(BATCH.branch_of_place, PROMPT))
    with torch.no_grad():
        difference = policy.token_logprobs(BATCH).logprobs - policy.token_logprobs(blind).logprobs
    assert difference.abs().max() > 1e-2


def test_a_processor_takes_the_groups() -> None:
    assert isinstance(attention.tree_attention(BATCH, torch.device("cpu"), torch.float32), attention.TreeAttention)

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine import blocks
from accord.engine.cache import _Block
from accord.engine.policy_engine import Request, sample_all
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch


@pytest.mark.parametrize(
    ("cost", "num_samples", "merged"),
    [(0, 1, set()), (0, 3, set()), (500, 3, {"prompts shared"}), (2000, 3, {"apart"}), (10**9, 1, set())],
)
def test_responses_do_not_depend_on_the_blocks(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, cost: int, num_samples: int, merged: set[str]
) -> None:
    """Every length a block of its own, prompts shared, some merged on the way, one block for all: fp32, so the same
    tokens, and the logprobs that the policy gives them."""
    policy = Policy.load(tiny_model)
    prompts = [tuple(range(3, 3 + n)) for n in (2, 40, 90, 33, 3, 70)]
    requests = [Request(ids, num_samples, (1, "blocks", i)) for i, ids in enumerate(prompts)]
    alone = [sample_all(policy, [request], max_response_tokens=40)[0] for request in requests]
    monkeypatch.setattr(blocks, "BLOCK_COST", cost)
    found: set[str] = set()
    joined = _Block.joined

    def watched(first: _Block, second: _Block) -> _Block:
        found.add("prompts shared" if first.shared else "apart")
        return joined(first, second)

    monkeypatch.setattr(_Block, "joined", watched)
    together = sample_all(policy, requests, max_response_tokens=40, num_slots=8)
    assert [[s.ids for s in r] for r in together] == [[s.ids for s in r] for r in alone]
    for ids, samples in zip(prompts, together, strict=True):
        tree = Tree(ids, tuple(Branch(tuple(s.ids)) for s in samples))
        with torch.no_grad():
            expected = policy.token_logprobs(TreeBatch.from_trees([tree])).logprobs
        own = torch.tensor([x for s in samples for x in s.logprobs])
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=0)
    assert found == merged

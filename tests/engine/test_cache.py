from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine import blocks
from accord.engine.cache import _Block
from accord.engine.sampler import Request, sample_all
from accord.models.policy import Policy


@pytest.mark.parametrize("cost", [0, 500, 10**9])
def test_responses_do_not_depend_on_the_blocks(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, cost: int) -> None:
    """Every length a block of its own, some merged on the way, and one block for all: fp32, so the same tokens."""
    policy = Policy.load(tiny_model)
    prompts = [tuple(range(3, 3 + n)) for n in (2, 40, 90, 33, 3, 70)]
    requests = [Request(ids, 2, (1, "blocks", i)) for i, ids in enumerate(prompts)]
    alone = [sample_all(policy, [request], max_response_tokens=40)[0] for request in requests]
    monkeypatch.setattr(blocks, "BLOCK_COST", cost)
    merges = []
    joined = _Block.joined
    monkeypatch.setattr(_Block, "joined", lambda *both: merges.append(both) or joined(*both))
    together = sample_all(policy, requests, max_response_tokens=40, num_slots=8)
    assert [[s.ids for s in r] for r in together] == [[s.ids for s in r] for r in alone]
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(torch.tensor(a.logprobs), torch.tensor(b.logprobs), atol=1e-4, rtol=0)
    assert bool(merges) == (cost > 0)

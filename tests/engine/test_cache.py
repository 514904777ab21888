from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accord.engine import cache as cache_module
from accord.engine.cache import blocks_of
from accord.engine.sampler import Request, sample_all
from accord.models.cost import cache_places
from accord.models.policy import Policy


@pytest.mark.parametrize(
    ("lengths", "cost", "expected"),
    [
        ([5, 9, 32], 1.0, [3]),  # all have 32 places
        ([5, 9, 40], 1.0, [2, 1]),  # together 3 * 64 + 1; apart 2 * 32 + 64 + 2
        ([5, 9, 40], 65.0, [3]),  # 257 together, 258 apart
        ([5, 40, 500, 510], 40.0, [2, 2]),  # the short two together 168, apart 176
        ([500, 510, 5], 1.0, [2, 1]),  # any order will do
        ([7], 1e9, [1]),
    ],
)
def test_blocks_by_hand(lengths: list[int], cost: float, expected: list[int]) -> None:
    assert blocks_of(lengths, cost) == expected


@given(st.lists(st.integers(1, 300), min_size=1, max_size=9), st.floats(0, 2000))
def test_no_other_blocks_cost_less(lengths: list[int], cost: float) -> None:
    def price(bounds: tuple[int, ...]) -> float:
        parts = [lengths[a:b] for a, b in pairwise((0, *bounds, len(lengths)))]
        return sum(len(part) * cache_places(max(part)) + cost for part in parts)

    sizes = blocks_of(lengths, cost)
    assert sum(sizes) == len(lengths)
    assert min(sizes) > 0
    found = price(tuple(sum(sizes[:i]) for i in range(1, len(sizes))))
    others = range(2 ** (len(lengths) - 1))
    best = min(price(tuple(i + 1 for i in range(len(lengths) - 1) if mask >> i & 1)) for mask in others)
    assert found == pytest.approx(best)


@pytest.mark.parametrize("cost", [0, 500, 10**9])
def test_responses_do_not_depend_on_the_blocks(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, cost: int) -> None:
    """Every length a block of its own, some merged on the way, and one block for all: fp32, so the same tokens."""
    policy = Policy.load(tiny_model)
    prompts = [tuple(range(3, 3 + n)) for n in (2, 40, 90, 33, 3, 70)]
    requests = [Request(ids, 2, (1, "blocks", i)) for i, ids in enumerate(prompts)]
    alone = [sample_all(policy, [request], max_response_tokens=40)[0] for request in requests]
    monkeypatch.setattr(cache_module, "_BLOCK_COST", cost)
    merges = []
    real = cache_module._Block.copy_rows
    monkeypatch.setattr(cache_module._Block, "copy_rows", lambda *args: (merges.append(1), real(*args)))
    together = sample_all(policy, requests, max_response_tokens=40, num_slots=8)
    assert [[s.ids for s in r] for r in together] == [[s.ids for s in r] for r in alone]
    for ours, theirs in zip(together, alone, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(torch.tensor(a.logprobs), torch.tensor(b.logprobs), atol=1e-4, rtol=0)
    assert bool(merges) == (cost > 0)

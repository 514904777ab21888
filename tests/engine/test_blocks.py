from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.engine.blocks import BLOCK_COST, are_better_as_one, are_better_shared, blocks_of, places_for


@pytest.mark.parametrize(("length", "places"), [(1, 32), (32, 32), (33, 64), (64, 64)])
def test_places(length: int, places: int) -> None:
    assert places_for(length) == places


@pytest.mark.parametrize(
    ("lengths", "cost", "expected"),
    [
        ([5, 9, 32], 1, [3]),  # all have 32 places
        ([5, 9, 40], 1, [2, 1]),  # together 3 * 64 + 1; apart 2 * 32 + 64 + 2
        ([5, 9, 40], 65, [3]),  # 257 together, 258 apart
        ([5, 40, 500, 510], 40, [2, 2]),  # the short two together 168, apart 176
        ([500, 510, 5], 1, [2, 1]),  # any order will do
        ([7], 10**5, [1]),
    ],
)
def test_blocks_by_hand(lengths: list[int], cost: int, expected: list[int]) -> None:
    assert blocks_of(lengths, BLOCK_COST // cost) == expected


@given(st.lists(st.integers(1, 300), min_size=1, max_size=9), st.integers(50, 10**6))
def test_no_other_blocks_cost_less(lengths: list[int], numbers: int) -> None:
    def price(bounds: tuple[int, ...]) -> float:
        parts = [lengths[a:b] for a, b in pairwise((0, *bounds, len(lengths)))]
        return sum(len(part) * places_for(max(part)) + BLOCK_COST / numbers for part in parts)

    sizes = blocks_of(lengths, numbers)
    assert sum(sizes) == len(lengths)
    assert min(sizes) > 0
    found = price(tuple(sum(sizes[:i]) for i in range(1, len(sizes))))
    others = range(2 ** (len(lengths) - 1))
    best = min(price(tuple(i + 1 for i in range(len(lengths) - 1) if mask >> i & 1)) for mask in others)
    assert found == pytest.approx(best)


@dataclass
class Rows:
    num_rows: int
    num_places: int
    num_prompts: int = 0
    prompt_places: int = 0


def test_when_two_blocks_become_one() -> None:
    """3 short rows would read 32 places more each; a block is to cost more than twice that."""
    short, long = Rows(3, 32), Rows(50, 64)
    per_place = BLOCK_COST // (2 * 3 * 32)
    for numbers, expected in ((per_place, True), (per_place + 1, False)):
        assert are_better_as_one(short, long, numbers) is expected
        assert are_better_as_one(long, short, numbers) is expected
    assert are_better_as_one(Rows(99, 64), long, 10**9)
    assert not are_better_as_one(Rows(9, 64), Rows(9, 64, 1, 32), 1)
    most = (BLOCK_COST - 1) // (2 * 2 * 64)  # two prompts with 64 places more each
    assert are_better_as_one(Rows(9, 64, 2, 32), Rows(9, 64, 1, 96), most)
    assert not are_better_as_one(Rows(9, 64, 2, 32), Rows(9, 64, 1, 96), most + 1)


def test_when_prompts_are_shared() -> None:
    """4 samples of 2 prompts of 9 and 40 tokens: 4 * (32 + 64) places apart, 2 * 64 shared."""
    numbers = 2 * BLOCK_COST // (384 - 128)
    assert not are_better_shared([9, 40], 8, numbers)
    assert are_better_shared([9, 40], 8, numbers + 1)
    assert not are_better_shared([9, 400], 2, 10**9)
    assert not are_better_shared([40] * 63 + [900], 128, 10**9)  # one long prompt would give all its places

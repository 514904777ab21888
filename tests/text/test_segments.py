"""Trees cut into segments: whatever is cut, a place sees what the definition of a tree lets it see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.text import segments
from accord.text.segments import PROMPT, Product, Segment, mean_keys, mean_width, product_of, segments_of, together
from accord.text.tree import Branch, Tree, TreeBatch

SIZES = st.tuples(st.integers(1, 9), st.lists(st.integers(1, 7), min_size=1, max_size=5))
# What blocks and runs hold, and what a segment and a product more cost: nothing is cut, or everything.
COSTS = {
    "whole": (256, (0, 32), 2_000, 4_000),
    "cut, apart": (2, (0,), 0, 0),
    "cut, together": (3, (0,), 0, 10_000),
    "in runs": (256, (6,), -1_000, 0),
}


def _batch(sizes: list[tuple[int, list[int]]]) -> TreeBatch:
    return TreeBatch.from_trees(
        [Tree((5,) * num, tuple(Branch((6,) * n) for n in branches)) for num, branches in sizes]
    )


def _seen(products: tuple[Product, ...]) -> set[tuple[int, int]]:
    return {
        (int(one.queries[n, q]), int(one.keys[n, k])) for one in products for n, q, k in one.visible.nonzero().tolist()
    }


@pytest.mark.parametrize("costs", COSTS)
@given(sizes=st.lists(SIZES, min_size=1, max_size=4))
def test_a_place_sees_the_prompt_and_the_earlier_places_of_its_branch(
    costs: str, sizes: list[tuple[int, list[int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("_BLOCK", "_RUNS", "_SEGMENT", "_PRODUCT"), COSTS[costs], strict=True):
            patch.setattr(segments, name, value)
        batch = _batch(sizes)
        products = batch.products
    tree, branch = batch.tree_of_place.tolist(), batch.branch_of_place.tolist()
    assert _seen(products) == {
        (query, key)
        for query in range(len(tree))
        for key in range(query + 1)
        if tree[key] == tree[query] and branch[key] in (PROMPT, branch[query])
    }
    assert {place for one in products for place in one.queries.flatten().tolist()} == set(range(len(tree)))
    assert all(one.visible.any(dim=2).all() for one in products), "a query that saw nothing would be NaN"


def test_a_tree_of_many_branches_is_cut() -> None:
    """A prompt of 100 and 20 branches of 60, at the place 5: a branch's 60 queries meet 160 keys."""
    found = segments_of(5, 100, [60] * 20)
    assert found[:3] == [Segment(5, 105, 5), Segment(105, 165, 105, 5, 105), Segment(165, 225, 165, 5, 105)]
    assert (len(found), found[-1]) == (21, Segment(1245, 1305, 1245, 5, 105))
    assert [len(product) for product in together(found)] == [20, 1]
    assert mean_width(found) == (20 * 60 * 160 + 100 * 100) / 1300
    assert mean_keys(found) == (20 * 160 + 100) / 1300


def test_short_branches_share_the_keys_of_a_long_prompt() -> None:
    """64 branches of 10 behind 900 tokens: apart each would copy 910 keys, 58,240 for 640 tokens."""
    found = segments_of(0, 900, [10] * 64)
    branches = [one for one in found if one.start >= 900]
    assert sum(one.num_keys for one in branches) <= 8 * 1_028
    assert all((one.start - 900) % 10 == 0 for one in branches), "a branch is in one segment"
    assert mean_width(found) < 1540 / 2


def test_a_short_tree_is_whole() -> None:
    assert segments_of(0, 10, [5, 5]) == [Segment(0, 20, 0)]


def test_a_long_text_is_cut_into_blocks_that_see_none_of_the_later_ones() -> None:
    """600 tokens, three blocks of 200: 200 * (200 + 400 + 600) scores and not 600 * 600."""
    found = segments_of(0, 1, [599])
    assert found == [Segment(0, 200, 0), Segment(200, 400, 0), Segment(400, 600, 0)]
    assert mean_width(found) == 400


def test_two_long_branches_are_cut_apart() -> None:
    found = segments_of(0, 300, [200, 200])
    assert found == [
        Segment(0, 150, 0),
        Segment(150, 300, 0),
        Segment(300, 500, 300, 0, 300),
        Segment(500, 700, 500, 0, 300),
    ]


def test_segments_of_unlike_sizes_are_products_of_their_own() -> None:
    long, short = segments_of(0, 200, ()), [one for start in (200, 210, 220) for one in segments_of(start, 10, ())]
    assert together([*long, *short]) == [short, long]


def test_a_product_is_filled_with_each_segments_last_place() -> None:
    """Prompt p0 p1 and branches a0, b0 b1 as the places 0 to 4; the second branch's keys are p0 p1 b0 b1."""
    branch_of_place = np.array([PROMPT, PROMPT, 0, 1, 1])
    product = product_of([Segment(2, 3, 2, 0, 2), Segment(3, 5, 3, 0, 2)], branch_of_place)
    assert product.queries.tolist() == [[2, 2], [3, 4]]
    assert product.keys.tolist() == [[0, 1, 2, 2], [0, 1, 3, 4]]
    assert product.visible.int().tolist() == [[[1, 1, 1, 0], [1, 1, 1, 0]], [[1, 1, 1, 0], [1, 1, 1, 1]]]

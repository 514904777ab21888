from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.text.batching import iterate_micro_batches, micro_batches, narrowed, shared_prompts, shuffled_batches
from accord.text.tree import Branch, Tree

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=30)


def _trees(lengths: list[int]) -> list[Tree]:
    return [Tree((1, 2), (Branch(tuple(range(3, 3 + n))),)) for n in lengths]


@given(LENGTHS, st.integers(1, 100))
def test_micro_batches_hold_every_tree_once_within_the_budget(lengths: list[int], max_tokens: int) -> None:
    trees = _trees(lengths)
    micros = micro_batches(trees, max_tokens)
    assert sorted(i for micro in micros for i in micro.indices) == list(range(len(trees)))
    for micro in micros:
        assert len(micro.indices) == 1 or len(micro.batch.ids) <= max_tokens
        assert len(micro.batch.ids) == sum(trees[i].num_tokens for i in micro.indices)


def test_neighbours_are_of_similar_length_longest_first() -> None:
    micros = micro_batches(_trees([1, 9, 2, 10]), 24)
    assert [micro.indices for micro in micros] == [(3, 1), (2, 0)]


@given(LENGTHS, st.integers(8, 100))
def test_joined_trees_hold_the_same_branches(lengths: list[int], max_tokens: int) -> None:
    trees = [*_trees(lengths), Tree((7,), (Branch((8,)),))]
    joined = shared_prompts(trees, max_tokens)
    assert sorted((t.prompt_ids, b.ids) for t in joined for b in t.branches) == sorted(
        (t.prompt_ids, b.ids) for t in trees for b in t.branches
    )
    assert all(len(t.branches) == 1 or t.num_tokens <= max_tokens for t in joined)


@given(st.lists(LENGTHS, min_size=1, max_size=4), st.integers(1, 60))
def test_narrowed_trees_hold_the_same_branches(of_trees: list[list[int]], max_tokens: int) -> None:
    trees = [Tree((1, 2), tuple(Branch((5,) * n) for n in lengths)) for lengths in of_trees]
    parts, owner = narrowed(trees, max_tokens)
    assert owner == sorted(owner)
    for i, tree in enumerate(trees):
        own = [part for part, at in zip(parts, owner, strict=True) if at == i]
        assert tuple(branch for part in own for branch in part.branches) == tree.branches
    for part in parts:
        assert len(part.branches) == 1 or part.num_tokens - 2 <= max(max_tokens, 4)


def test_a_part_is_twice_as_wide_as_its_prompt() -> None:
    parts, _ = narrowed([Tree((1,) * 10, (Branch((5,) * 6),) * 7)], 8)
    assert [len(part.branches) for part in parts] == [3, 3, 1]


def test_equal_prompts_become_one_tree() -> None:
    (joined,) = shared_prompts(_trees([3, 1, 2]), 100)
    assert [len(branch.ids) for branch in joined.branches] == [1, 2, 3]


def test_every_epoch_takes_every_example_once_in_a_new_order() -> None:
    batches = list(shuffled_batches(10, 4, 2, seed=3))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    first, second = ([i for batch in half for i in batch] for half in (batches[:3], batches[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert batches == list(shuffled_batches(10, 4, 2, seed=3))
    assert batches != list(shuffled_batches(10, 4, 2, seed=4))


def test_a_share_of_an_epoch_takes_that_share() -> None:
    assert [len(batch) for batch in shuffled_batches(10, 4, 0.5, seed=0)] == [4, 1]
    assert [len(batch) for batch in shuffled_batches(10, 4, 1e-9, seed=0)] == [1]
    assert [len(batch) for batch in shuffled_batches(4, 2, 1.5, seed=0)] == [2, 2, 2]


def test_batches_made_one_at_a_time_are_the_same_ones() -> None:
    trees = _trees([1, 9, 2, 10])
    lazy = iterate_micro_batches(trees, 24)
    assert [micro.indices for micro in lazy] == [micro.indices for micro in micro_batches(trees, 24)]


def test_nothing_has_no_batches() -> None:
    with pytest.raises(AssertionError, match="without items"):
        next(shuffled_batches(0, 2, 1, seed=0))

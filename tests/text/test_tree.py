from __future__ import annotations

from accord.text.tree import Branch, Tree, TreeBatch, flatten

# Prompt p0 p1 p2 with responses a0 a1 and b0 b1 b2: the worked example of the module.
EXAMPLE = Tree((10, 11, 12), (Branch((20, 21)), Branch((30, 31, 32))))


def test_the_context_holds_the_prompt_and_one_branch() -> None:
    assert (EXAMPLE.num_tokens, EXAMPLE.depth) == (8, 6)


def test_layout_of_the_worked_example() -> None:
    batch = TreeBatch.from_trees([EXAMPLE])
    assert batch.ids.tolist() == [10, 11, 12, 20, 21, 30, 31, 32]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert batch.targets.tolist() == [20, 21, 30, 31, 32]
    assert batch.scoring_rows.tolist() == [2, 3, 2, 5, 6]
    assert batch.branch_of_token.tolist() == [0, 0, 1, 1, 1]
    assert batch.last_rows.tolist() == [4, 7]
    assert batch.tree_of_branch.tolist() == [0, 0]
    assert (batch.num_trees, batch.num_branches, batch.num_tokens) == (1, 2, 8)


def test_trees_lie_one_after_the_other() -> None:
    other = Tree((40, 41), (Branch((50,)),))
    batch = TreeBatch.from_trees([EXAMPLE, other, EXAMPLE])
    assert batch.ids.tolist() == [10, 11, 12, 20, 21, 30, 31, 32, 40, 41, 50, 10, 11, 12, 20, 21, 30, 31, 32]
    assert batch.positions[8:12].tolist() == [0, 1, 2, 0]
    assert batch.tree_of_place.tolist() == [0] * 8 + [1] * 3 + [2] * 8
    assert batch.branch_of_place.tolist() == [-1, -1, -1, 0, 0, 1, 1, 1, -1, -1, 2, -1, -1, -1, 3, 3, 4, 4, 4]
    assert batch.scoring_rows.tolist() == [2, 3, 2, 5, 6, 9, 13, 14, 13, 16, 17]
    assert batch.last_rows.tolist() == [4, 7, 10, 15, 18]
    assert batch.tree_of_branch.tolist() == [0, 0, 1, 2, 2]
    assert batch.num_tokens == 19


def test_only_scored_tokens_are_targets() -> None:
    tree = Tree((1,), (Branch((2, 3, 4, 5), (False, True, False, True)),))
    batch = TreeBatch.from_trees([tree])
    assert batch.targets.tolist() == [3, 5]
    assert batch.scoring_rows.tolist() == [1, 3]
    assert batch.last_rows.tolist() == [4]


def test_flatten_gives_every_branch_its_prompt() -> None:
    assert flatten(EXAMPLE) == (Tree((10, 11, 12), (Branch((20, 21)),)), Tree((10, 11, 12), (Branch((30, 31, 32)),)))

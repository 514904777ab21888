from __future__ import annotations

import pytest

from accord.text.tree import Branch, Tree, TreeBatch, flatten, num_places

# Prompt p0 p1 p2 with responses a0 a1 and b0 b1 b2: the worked example of the module.
EXAMPLE = Tree((10, 11, 12), (Branch((20, 21)), Branch((30, 31, 32))))


def test_the_context_holds_the_prompt_and_one_branch() -> None:
    assert (EXAMPLE.num_tokens, EXAMPLE.depth) == (8, 6)


def test_layout_of_the_worked_example() -> None:
    batch = TreeBatch.from_trees([EXAMPLE], pad_id=0)
    assert batch.ids.tolist() == [10, 11, 12, 20, 21, 30, 31, 32]
    assert batch.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5]
    assert batch.targets.tolist() == [20, 21, 30, 31, 32]
    assert batch.scoring_rows.tolist() == [2, 3, 2, 5, 6]
    assert batch.branch_of_token.tolist() == [0, 0, 1, 1, 1]
    assert batch.last_rows.tolist() == [4, 7]
    assert batch.tree_of_branch.tolist() == [0, 0]
    assert (batch.num_trees, batch.num_branches, batch.num_tokens) == (1, 2, 8)


def test_a_branch_sees_the_prompt_and_its_own_earlier_tokens() -> None:
    (group,) = TreeBatch.from_trees([EXAMPLE], pad_id=0).groups
    assert group.visible[0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 1, 0, 0],
        [1, 1, 1, 0, 0, 1, 1, 0],
        [1, 1, 1, 0, 0, 1, 1, 1],
    ]


def test_padding_is_seen_by_nobody_else_and_sees_something() -> None:
    """A place that saw nothing would be NaN."""
    short = Tree((10,), (Branch((20, 21, 22, 23)),))
    batch = TreeBatch.from_trees([EXAMPLE, short], pad_id=9)
    assert batch.ids.tolist()[8:] == [10, 20, 21, 22, 23, 9, 9, 9]
    (group,) = batch.groups
    assert not group.visible[1, :5, 5:].any()
    assert group.visible[1].any(dim=1).all()
    assert batch.scoring_rows.tolist()[-4:] == [8, 9, 10, 11]
    assert batch.last_rows.tolist() == [4, 7, 12]
    assert batch.tree_of_branch.tolist() == [0, 0, 1]
    assert batch.num_tokens == 13


def test_neighbours_of_other_lengths_are_groups_of_their_own() -> None:
    other = Tree((40, 41), (Branch((50,)),))
    batch = TreeBatch.from_trees([EXAMPLE, EXAMPLE, other, EXAMPLE], pad_id=0)
    assert [(group.start, *group.visible.shape) for group in batch.groups] == [
        (0, 2, 8, 8),
        (16, 1, 4, 4),
        (20, 1, 8, 8),
    ]
    assert batch.positions[16:20].tolist() == [0, 1, 2, 0]
    assert batch.scoring_rows.tolist()[10] == 17
    assert batch.last_rows.tolist() == [4, 7, 12, 15, 18, 24, 27]
    # 24 places that see trees of 8, and 4 of a tree of 4.
    assert batch.mean_width == (24 * 8 + 4 * 4) / 28


@pytest.mark.parametrize("num", [2, 3, 4, 5, 63, 64, 65, 127, 128, 300, 1000, 1025, 5000])
def test_a_tree_is_padded_by_a_sixteenth_at_most(num: int) -> None:
    places = num_places(Tree((1,), (Branch((2,) * (num - 1)),)))
    assert num <= places < num + max(4, num / 16 + 1)
    assert places % 4 == 0


def test_only_scored_tokens_are_targets() -> None:
    tree = Tree((1,), (Branch((2, 3, 4, 5), (False, True, False, True)),))
    batch = TreeBatch.from_trees([tree], pad_id=0)
    assert batch.targets.tolist() == [3, 5]
    assert batch.scoring_rows.tolist() == [1, 3]
    assert batch.last_rows.tolist() == [4]


def test_flatten_gives_every_branch_its_prompt() -> None:
    assert flatten(EXAMPLE) == (Tree((10, 11, 12), (Branch((20, 21)),)), Tree((10, 11, 12), (Branch((30, 31, 32)),)))

from __future__ import annotations

from accord.text.tree import Branch, Tree
from accord.text.turns import longest_turn, marked_turns, tree_of_turns

END = 9


def test_one_turn_is_a_branch_without_a_mask() -> None:
    assert tree_of_turns([1, 2, 3, 9], [(2, 4)]) == Tree((1, 2), (Branch((3, 9)),))


def test_what_stands_between_two_turns_is_seen_and_not_scored() -> None:
    tree = tree_of_turns([1, 3, 9, 1, 2, 4, 5, 9, 7], [(1, 3), (5, 8)])
    scored = (True, True, False, False, True, True, True)
    assert tree == Tree((1,), (Branch((3, 9, 1, 2, 4, 5, 9), scored),))


def test_a_mark_goes_to_the_end_of_the_turn_neither_further_nor_less() -> None:
    ids = [1, 3, 9, 7, 1, 4, 9, 7, 1, 5, 6]
    newline_too = [0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0]
    content_only = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert marked_turns(ids, newline_too, END) == marked_turns(ids, content_only, END) == [(1, 3), (5, 7)]
    assert marked_turns(ids, [0] * 9 + [1, 1], END) == [(9, 11)]  # nothing ends it


def test_the_longest_turn_is_that_of_the_scored_tokens() -> None:
    assert longest_turn(Branch((1, 2, 3))) == 3
    assert longest_turn(Branch((1,) * 7, (True, True, False, True, True, True, False))) == 3

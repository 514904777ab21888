"""Which tokens of a conversation are imitated. Functions of token ids alone; `Template.demonstration` renders them."""

from __future__ import annotations

from collections.abc import Sequence

from accord.text.tree import Branch, Tree

Span = tuple[int, int]  # of a sequence of tokens: the first one's place, and the place after the last


def tree_of_turns(ids: Sequence[int], turns: Sequence[Span]) -> Tree:
    """One branch that scores the tokens of the turns, given in their order; the prompt is what stands before them.

    Tokens after the last turn are left out.

    >>> tree_of_turns([1, 2, 3, 4, 5, 6], [(2, 3), (4, 6)])
    Tree(prompt_ids=(1, 2), branches=(Branch(ids=(3, 4, 5, 6), scored=(True, False, True, True)),))
    """
    first, end = turns[0][0], turns[-1][1]
    scored = [False] * (end - first)
    for begin, stop in turns:
        assert first <= begin < stop <= end, "turns stand one after the other, and none is empty"
        scored[begin - first : stop - first] = [True] * (stop - begin)
    branch = Branch(tuple(ids[first:end]), None if all(scored) else tuple(scored))
    return Tree(tuple(ids[:first]), (branch,))


def marked_turns(ids: Sequence[int], mask: Sequence[int], end_id: int) -> list[Span]:
    """The turns that a chat template marks, in their order: each goes to its last end-of-turn token.

    A mark that stops short of that token is lengthened by it, because a model that never sees it does not learn to
    stop; what a mark holds after it (a newline) is left out.
    """
    turns = []
    at = 0
    while at < len(mask):
        if not mask[at]:
            at += 1
            continue
        begin = at
        while at < len(mask) and mask[at]:
            at += 1
        stop = at
        ends = [i for i in range(begin, at) if ids[i] == end_id]
        if ends:
            stop = ends[-1] + 1
        elif at < len(ids) and ids[at] == end_id:
            stop = at + 1
        turns.append((begin, stop))
    return turns


def longest_turn(branch: Branch) -> int:
    """The number of tokens of the longest scored turn of a branch."""
    longest = run = 0
    for wanted in branch.scored if branch.scored is not None else (True,) * len(branch.ids):
        run = run + 1 if wanted else 0
        longest = max(longest, run)
    return longest

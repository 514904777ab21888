"""Which sequences share a row: best-fit decreasing, over a whole data set.

Every sequence goes, longest first, into the row with the least room that still holds it. No more rows than 11/9 of the
fewest possible (and one) come out (Johnson et al. 1974), and in practice nearly all rows are full. Sequences of a row
do not see each other: `TreeBatch` masks them apart and counts their positions from 0.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack(lengths: Sequence[int], limit: int) -> list[tuple[int, ...]]:
    """Rows of indices into `lengths`, each index once. A sequence longer than `limit` is a row of its own.

    >>> pack([5, 3, 4, 2, 6], limit=10)
    [(4, 2), (0, 1, 3)]
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (places left, row), ascending
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect_left(room, (lengths[i], 0))
        if at < len(room):
            left, row = room.pop(at)
            rows[row].append(i)
        else:
            left, row = limit, len(rows)
            rows.append([i])
        if left > lengths[i]:
            insort(room, (left - lengths[i], row))
    return [tuple(row) for row in rows]


def share_filled(lengths: Sequence[int], rows: Sequence[Sequence[int]]) -> float:
    """The share of the places that hold a token when all rows are as wide as the widest."""
    return sum(lengths) / (len(rows) * max(sum(lengths[i] for i in row) for row in rows))

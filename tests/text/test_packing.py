from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.text.packing import pack, share_filled


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 80))
def test_every_sequence_once_no_row_over_the_limit_and_few_rows(lengths: list[int], limit: int) -> None:
    rows = pack(lengths, limit)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    widths = [sum(lengths[i] for i in row) for row in rows]
    assert all(width <= limit or len(row) == 1 for width, row in zip(widths, rows, strict=True))
    # Whatever opened a row did not fit into any other, so no two rows of several sequences fit into one.
    capped = sorted(min(width, limit) for width in widths)
    assert len(capped) < 2 or capped[0] + capped[1] > limit
    assert rows == pack(lengths, limit)


def test_the_longest_first_each_where_the_least_room_is_left() -> None:
    assert pack([3, 3, 4, 6, 7, 7], limit=10) == [(4, 0), (5, 1), (3, 2)]
    assert pack([4, 4, 4, 6, 6, 6], limit=10) == [(3, 0), (4, 1), (5, 2)]
    assert pack([5, 2, 2], limit=4) == [(0,), (1, 2)]  # too long for any row


def test_a_data_set_of_mixed_lengths_fills_its_rows() -> None:
    lengths = [7 + (i * i * 37) % 300 for i in range(1000)]
    rows = pack(lengths, 1024)
    assert len(rows) <= 1.01 * -(-sum(lengths) // 1024)
    assert share_filled(lengths, rows) > 0.99
    assert share_filled([3, 3, 2], [(0, 1), (2,)]) == pytest.approx(8 / 12)

import math

import pytest

from accord.monitor.values import ABSENT, clean, duration, fixed, number, percent, short, table


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, True, "3", [1], {}])
def test_what_is_no_finite_number_is_missing(value: object) -> None:
    assert number(value) is None
    assert fixed(value) == percent(value) == duration(value) == ABSENT


def test_numbers_are_written_for_people() -> None:
    assert number(3) == 3.0
    assert fixed(1.005, 1) == "1.0"
    assert fixed(-0.004) == "0.00"  # never a negative zero
    assert [percent(x) for x in (0, 0.834, 0.5, 0.503, 0.4962, 1)] == ["0", "83", "50", "50.3", "49.6", "100"]
    assert [duration(x) for x in (0, 9.96, 59.6, 75, 3599.7, 7380)] == [
        "0.0 s", "10 s", "1 min 0 s", "1 min 15 s", "1 h 0 min", "2 h 3 min",
    ]  # fmt: skip


def test_clean_keeps_text_and_drops_what_breaks_a_page() -> None:
    assert clean("a\tb\nc é 漢 🙂") == "a\tb\nc é 漢 🙂"
    assert clean("a\x00b\x1b[0m") == "a�b�[0m"
    clean("x\ud800y").encode("utf-8")
    assert clean("abcdef", 3) == "abc […]"


def test_short_names_keep_both_ends() -> None:
    assert short("a" * 28) == "a" * 28
    assert short("round-12/the-policy-of-the-lighthouse-3", 20) == "round-12/t…hthouse-3"
    assert len(short("b" * 29)) == 28


def test_table_of_anything_else_is_empty() -> None:
    nothing: list[object] = [None, [], "a", 3]
    assert table({"a": 1}) == {"a": 1}
    assert [table(value) for value in nothing] == [{}, {}, {}, {}]


def test_clean_keeps_no_mark_that_reorders() -> None:
    assert clean("a\u202eevil\u2066b\u2028c") == "a�evil�b\nc"

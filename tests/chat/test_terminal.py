from __future__ import annotations

from rich.cells import cell_len

from accord.chat.terminal import side_by_side, wrapped


def test_wrapping_at_spaces_and_in_long_words():
    assert wrapped("the quick brown fox", 9) == ["the quick", "brown fox"]
    assert wrapped("a bbbbbbbbbbbb c", 5) == ["a", "bbbbb", "bbbbb", "bb c"]
    assert wrapped("one\n\ntwo", 5) == ["one", "", "two"]
    assert wrapped("東京 東京", 5) == ["東京", "東京"]
    assert wrapped("", 5) == [""]


def test_indentation_stays():
    assert wrapped("def f():\n    return 1\n\n  - a b", 12) == ["def f():", "    return 1", "", "  - a b"]
    assert wrapped("    one two three", 9) == ["    one", "two three"]
    assert wrapped("    oneandmore", 9) == ["    onean", "dmore"]
    assert wrapped("          x", 5) == [" " * 5, " " * 5, "x"]


def test_more_text_changes_the_last_line_only():
    text = "It is a quiet film aboutalighthouseandthesea,\n      and it knows  when to stop. 東京 is far away."
    for width in (5, 9, 13):
        for num in range(len(text)):
            before, after = wrapped(text[:num], width), wrapped(text[: num + 1], width)
            assert after[: len(before) - 1] == before[:-1]


def test_columns_row_by_row():
    seen: list[str] = []
    left, right = iter(["one two ", "three four", " five"]), iter(["a\nb\n", "", "c\nd\ne"])
    side_by_side([left, right], 23, seen.append)
    assert seen == ["one two    | a\n", "three four | b\n", "five       | c\n", "           | d\n", "           | e\n"]


def test_a_row_is_written_as_soon_as_it_is_sure():
    """Each row waits for the slower one, and no longer."""
    log: list[str] = []

    def stream(name: str, pieces: list[str]):
        for piece in pieces:
            log.append(name)
            yield piece

    streams = [stream("L", ["x\n", "y\n", "z"]), stream("R", ["p", "q", "\nr"])]
    side_by_side(streams, 13, lambda row: log.append(row.strip()))
    assert log == ["L", "R", "L", "R", "L", "R", "x     | pq", "y     | r", "z     |"]


def test_what_a_model_writes_cannot_break_the_columns():
    seen: list[str] = []
    side_by_side([iter(["\x1b[2Ja\tb\r\u202e"]), iter(["東" * 9])], 23, seen.append)
    assert seen[0].startswith("[2Ja    b  | 東東東東東")
    assert all(cell_len(row.rstrip("\n")) <= 23 for row in seen)

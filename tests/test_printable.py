from __future__ import annotations

import pytest

from accord.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcödé 東京 🗼\nnext", "plain, ünïcödé 東京 🗼\nnext"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\x1b]0;title\x07", "?]0;title?"),
        ("a\rb\bc\x00\x7f", "a?b?c??"),
        ("\x9b2J\x90", "?2J?"),
        ("\u202eevil\u2066\u200f\u061c", "?evil???"),
        ("a\tb\u2028c\u2029d\x85e", "a\tb\nc\nd\ne"),
        ("half \ud800", "half ?"),
    ],
)
def test_nothing_that_a_terminal_obeys(text: str, shown: str):
    assert printable(text) == shown.replace("?", "")
    assert printable(text, "?") == shown

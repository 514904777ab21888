from __future__ import annotations

import pytest

from accord.monitor.page import coded


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Name it as `watch`.", "Name it as <code>watch</code>."),
        ("`<i>` of <a>", "<code>&lt;i&gt;</code> of &lt;a&gt;"),
        ("a ` <b>", "a ` &lt;b&gt;"),
        ("nothing", "nothing"),
    ],
)
def test_what_stands_between_backticks_is_code_and_all_is_escaped(sentence: str, expected: str) -> None:
    assert str(coded(sentence)) == expected

"""A code has one effect: rows with a flaw of their reading are left out, rows with any other finding are kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import accord.data
from accord.data.audit.check import CODES, LEFT_OUT

DATA = Path(accord.data.__path__[0])


def codes(path: Path, *names: str) -> Iterator[str]:
    """The codes of the defects and flaws that a file makes."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
            last = call.args[-1]
            if len(call.args) > 2 and isinstance(last, ast.Constant):
                yield str(last.value)


def test_what_reading_says_of_a_row_that_it_leaves_out_is_called_so() -> None:
    remarks = DATA / "formats" / "responses.py"
    left_out = {code for path in (DATA / "formats").glob("*.py") if path != remarks for code in codes(path, "Defect")}
    left_out |= {code for path in (DATA / "formats").glob("*.py") for code in codes(path, "Flaw")}
    assert {"divided", "equal-responses", "unclear-turns", "single-response", "unparsable"} <= left_out
    assert {code: CODES[code].effect for code in left_out} == dict.fromkeys(left_out, LEFT_OUT)


def test_what_is_said_of_rows_that_are_kept_is_called_so() -> None:
    kept = {*codes(DATA / "formats" / "responses.py", "Defect")}
    kept |= {code for path in (DATA / "audit").glob("*.py") for code in codes(path, "Flaw")}
    assert {"tie", "repeated-response", "stray-role-marker", "over-long"} <= kept
    assert LEFT_OUT not in {CODES[code].effect for code in kept}

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from accord.data.audit.copies import Copied, copy_rows
from accord.data.audit.lexicon import Lexicon
from accord.data.audit.personal import scrub_values
from accord.data.audit.shares import is_toxic
from accord.data.formats.options import ReadOptions
from accord.errors import UserError

ROWS = '{"id": "1", "odd": {"mail": "a@b.org"}, "n": 2}\nnot json\n{"text": "fine"}\n{"text": NaN}\n'


def test_a_copy_keeps_the_columns_and_counts_what_it_left_out(tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_text(ROWS)
    copied = copy_rows(str(source), ReadOptions(), out, scrub_values)
    assert [json.loads(line) for line in out.read_text().splitlines()] == [
        {"id": "1", "odd": {"mail": "<EMAIL>"}, "n": 2},
        {"text": "fine"},
    ]
    assert copied == Copied(num_rows=2, num_changed=1, num_dropped=0, num_unusable=2)
    assert source.read_text() == ROWS


def test_rows_can_be_dropped(tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    source.write_text('text,n\n"keep, me",1\ndrop,2\n')
    copied = copy_rows(str(source), ReadOptions(), out, lambda row: None if row["text"] == "drop" else row)
    assert (copied.num_rows, copied.num_dropped) == (1, 1)
    again = tmp_path / "c.csv"
    copy_rows(str(out), ReadOptions(), again, lambda row: row)
    assert again.read_text() == '"text","n"\n"keep, me","1"\n'


def test_turns_in_a_cell_are_opened_and_a_cell_that_stays_is_as_it_was(tmp_path: Path) -> None:
    source, out = tmp_path / "a.csv", tmp_path / "b.csv"
    cells = [
        '[{"role": "user", "content": "Call\\n415-555-2671, caf\u00e9"}]',
        '[ "fine",\t1]',
        '["\\ud800"]',
        "[no list]",
    ]
    rows = "".join(f'"{cell.replace(chr(34), chr(34) * 2)}"\n' for cell in cells)
    source.write_text(f"prompt\n{rows}", encoding="utf-8")
    assert copy_rows(str(source), ReadOptions(), out, scrub_values).num_changed == 1
    with out.open(encoding="utf-8", newline="") as file:
        found = [row["prompt"] for row in csv.DictReader(file)]
    assert found == ['[{"role": "user", "content": "Call\\n<PHONE>, caf\u00e9"}]', *cells[1:]]
    toxic = Lexicon("made-up", ("caf*",))
    said = tmp_path / "c.csv"
    source.write_text('prompt\n"[""\\ncaf\u00e9""]"\nfine\n', encoding="utf-8")
    copied = copy_rows(str(source), ReadOptions(), said, lambda row: None if is_toxic(row, toxic) else row)
    assert (copied.num_rows, copied.num_dropped) == (1, 1)


def test_nothing_left_is_an_error_and_no_file(tmp_path: Path) -> None:
    source, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    source.write_text('{"text": "x"}\n')
    with pytest.raises(UserError, match="no row is left"):
        copy_rows(str(source), ReadOptions(), out, lambda row: None)
    assert not out.exists()

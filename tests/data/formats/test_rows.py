"""Files to rows: every form, the place of each row, and what is wrong with files and rows."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

from accord.data.formats.reading import Flaw, Row
from accord.data.formats.rows import rows_of
from accord.errors import UserError

ROWS = [{"prompt": "Name a colour.", "completion": "Blue\u2028."}, {"prompt": "Count.", "completion": "1, 2"}]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def flaws(path: Path) -> list[tuple[str, str]]:
    """(place behind the file's folder, code) of each flaw, while every other row is a Row."""
    found = list(rows_of(path))
    assert any(isinstance(row, Row) for row in found), "one flaw costs no other row"
    return [(row.place.removeprefix(f"{path.parent}/"), row.code) for row in found if isinstance(row, Flaw)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson", "a.json", "a.json.gz", "A.JSONL"])
def test_an_object_a_line(name, tmp_path):
    path = write(tmp_path / name, b"\xef\xbb\xbf" + lines(ROWS[0]) + b"\r\n" + lines(ROWS[1]))
    assert list(rows_of(path)) == [Row(f"{path}:1", ROWS[0]), Row(f"{path}:3", ROWS[1])]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_an_array_of_objects_counts_its_items_from_0(name, tmp_path):
    path = write(tmp_path / name, b"\xef\xbb\xbf" + json.dumps([ROWS[0], 7, ROWS[1]], indent=1).encode())
    first, number, last = rows_of(path)
    assert (first, last) == (Row(f"{path}[0]", ROWS[0]), Row(f"{path}[2]", ROWS[1]))
    assert isinstance(number, Flaw)
    assert str(number) == f"{path}[1]: an object is wanted, not a number"


def test_one_object_over_several_lines_is_one_row(tmp_path):
    path = write(tmp_path / "a.json", json.dumps(ROWS[0], indent=2).encode())
    assert list(rows_of(path)) == [Row(f"{path}[0]", ROWS[0])]


def test_lines_that_cannot_be_parsed_cost_no_other(tmp_path):
    bad = [
        b"{",
        b'{"prompt": "\xff"}',
        b"[1]",
        b"\0\0\0",
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"n": ' + b"[" * 100_000 + b"}",
        b'{"prompt": "a\0"}',
        b"nonsense",
    ]
    path = write(tmp_path / "a.jsonl", b"\n".join([lines(ROWS[0]).strip(), *bad, lines(ROWS[1])]))
    codes = ["unparsable", "unparsable", "wrong-type", *["unparsable"] * 5]
    assert flaws(path) == [(f"a.jsonl:{i}", code) for i, code in enumerate(codes, start=2)]


def test_a_cell_of_csv_may_hold_newlines_and_the_row_is_where_it_starts(tmp_path):
    data = b'\xef\xbb\xbfprompt,completion\r\n"a\n\nb","x ""y"", z"\r\n\r\nc,d\r\n'
    path = write(tmp_path / "a.csv", data)
    assert list(rows_of(path)) == [
        Row(f"{path}:2", {"prompt": "a\n\nb", "completion": 'x "y", z'}),
        Row(f"{path}:6", {"prompt": "c", "completion": "d"}),
    ]


def test_tsv_and_gzipped_csv(tmp_path):
    expected = {"a": "1,5", "b": "2"}
    for name, data in (("x.tsv", b"a\tb\n1,5\t2\n"), ("x.csv.gz", b'a,b\n"1,5",2\n'), ("x.tsv.gz", b"a\tb\n1,5\t2")):
        path = write(tmp_path / name, data)
        assert [row.values for row in rows_of(path) if isinstance(row, Row)] == [expected]


def test_a_huge_cell_is_read_whole(tmp_path):
    path = write(tmp_path / "a.csv", b"text\n" + b"y" * 1_000_000 + b"\n")
    (row,) = rows_of(path)
    assert isinstance(row, Row)
    assert len(row.values["text"]) == 1_000_000


def test_rows_of_csv_that_cannot_be_used(tmp_path):
    path = write(tmp_path / "a.csv", b'a,b\n1,2,3\n1\n\xff,2\n"1"x,2\n5,6\n7,"open\n8,9\n')
    assert flaws(path) == [(f"a.csv:{line}", "unparsable") for line in (2, 3, 4, 5, 7)]
    last = list(rows_of(path))[-1]
    assert "a quote is opened here and closed nowhere, so the rest of the file is left out" in str(last)


def test_a_plain_text_is_split_at_blank_lines(tmp_path):
    path = write(tmp_path / "a.txt.gz", b"\xef\xbb\xbf\nOne\r\ntwo.\r\n \n\nThree \xff.\n\nFour.")
    first, broken, last = rows_of(path)
    assert (first, last) == (Row(f"{path}:2", {"text": "One\ntwo."}), Row(f"{path}:8", {"text": "Four."}))
    assert str(broken) == f"{path}:6: is not UTF-8"


def test_parquet_counts_rows_from_1(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"prompt": [{"role": "user"}]}, {"prompt": None}]), path)
    assert list(rows_of(path)) == [
        Row(f"{path}:row 1", {"prompt": [{"role": "user"}]}),
        Row(f"{path}:row 2", {"prompt": None}),
    ]


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path / "a.parquet", b"PAR1")
    with pytest.raises(UserError, match=r"pip install 'accord\[parquet\]'"):
        list(rows_of(path))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", "the file holds no row"),
        ("a.jsonl", b" \n\n", "the file holds no row"),
        ("a.json", b" ", "the file holds no row"),
        ("a.json", b"[]", "the file holds no row"),
        ("a.csv", b"", "the file holds no row"),
        ("a.csv", b"a,b\n", "the file holds no row"),
        ("a.txt", b"\n\n", "the file holds no row"),
        ("a.json", b'[{"a": 1},\n{"a": ', "a.json:2: not usable JSON"),
        ("a.json", b"[" * 100_000, "a.json: not usable JSON"),
        ("a.json", b'[{"a":\n "\xff"}]', "a.json:2: this is not UTF-8 text"),
        ("a.csv", b"a,b,a\n1,2,3\n", "a.csv:1: two columns are called 'a'"),
        ("a.csv", b"a,\xff\n1,2\n", "a.csv:1: this is not UTF-8 text"),
        ("a.csv", b'"a"x,b\n1,2\n', "a.csv:1: not CSV"),
        ("a.jsonl", "\ufeff{}".encode("utf-16-le"), "the file is UTF-16"),
        ("a.parquet", b"PAR1 is all that it has", "the Parquet file cannot be read"),
        ("a.parquet", b"", "the Parquet file cannot be read"),
        ("a.docx", b"x", "the ending of this file is not known: a.docx"),
        ("a.parquet.gz", b"x", "the ending of this file is not known"),
        ("jsonl", b"x", "the ending of this file is not known"),
    ],
)
def test_what_is_wrong_with_a_file_as_a_whole(name, data, message, tmp_path):
    if ".parquet" in name:
        pytest.importorskip("pyarrow")
    path = write(tmp_path / name, data)
    with pytest.raises(UserError) as caught:
        list(rows_of(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_gzip_that_is_none_or_breaks_off(tmp_path):
    (tmp_path / "none.jsonl.gz").write_bytes(lines(*ROWS))
    (tmp_path / "half.jsonl.gz").write_bytes(gzip.compress(lines(*ROWS) * 50)[:-20])
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match="the file is not whole"):
            list(rows_of(path))


def test_a_missing_file_and_a_folder(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    for name in ("missing.jsonl", "folder.jsonl"):
        with pytest.raises(UserError, match="the file cannot be read"):
            list(rows_of(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"question;good;bad\nq;a, b;c\n", "one column, 'question;good;bad'; it looks as if .* by semicolons"),
        ("a.csv", b"prompt\tcompletion\nq\ta\n", "separated by tabs"),
        ("a.tsv", b"prompt,completion\nq,a\n", "separated by commas"),
    ],
)
def test_another_separator_is_recognised(name, data, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        list(rows_of(write(tmp_path / name, data)))
    assert caught.value.where.endswith(f"{name}:1")
    assert "save it so" in caught.value.remedy


def test_one_column_may_have_a_semicolon_in_its_name(tmp_path):
    (row,) = rows_of(write(tmp_path / "a.csv", b"the text; at length\nx\n"))
    assert row.values == {"the text; at length": "x"}

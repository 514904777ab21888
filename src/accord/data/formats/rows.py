"""Files to rows: JSON lines, JSON, CSV, TSV, Parquet and plain text, all but Parquet also with .gz.

A row that cannot be parsed is a Flaw in its place among the rows, and costs no other one. Whatever concerns a whole
file (it is missing, of an unknown ending, no gzip, an array that breaks off) is a UserError. A plain text is split at
its blank lines: one row, with the column `text`, for each paragraph.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from accord.data.formats.fields import kind_of
from accord.data.formats.reading import Flaw, Row
from accord.errors import UserError

MAX_CELL = 2**31 - 1  # the csv module refuses cells above 128 KiB unless told otherwise
BOM = b"\xef\xbb\xbf"
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def rows_of(path: Path) -> Iterator[Row | Flaw]:
    """The rows of a file, in its order. Raises UserError when the file as a whole cannot be read."""
    read = READERS[ending(path)]
    try:
        with path.open("rb") as raw, _unpacked(raw, path) as file:
            _skip_mark(file, path)
            empty = True
            for row in read(file, str(path)):
                empty = False
                yield row
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"the file is not whole: {error}", where=str(path), remedy="Download or compress it again."
        ) from error
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or error}"
        raise UserError(what, where=str(path), remedy="Check the path.") from error
    if empty:
        raise UserError("the file holds no row", where=str(path), remedy="Check how it was made.")


def ending(path: Path) -> str:
    """The ending by which a file is read, such as `.jsonl`. Raises UserError for an unknown one."""
    found = Path(path.name.lower().removesuffix(".gz")).suffix
    if found not in READERS or (found == ".parquet" and path.name.lower().endswith(".gz")):
        raise UserError(
            f"the ending of this file is not known: {path.name}",
            where=str(path),
            remedy=f"Known: {', '.join(READERS)}, and all but .parquet also with .gz.",
        )
    return found


def known_ending(path: Path) -> bool:
    """Whether the ending of a file is one of data."""
    try:
        ending(path)
    except UserError:
        return False
    return True


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    return gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(".gz") else raw  # type: ignore[return-value]


def _skip_mark(file: IO[bytes], path: Path) -> None:
    """Leaves out the byte order mark, if there is one."""
    start = file.read(3)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError("the file is UTF-16", where=str(path), remedy="Save it as UTF-8.")
    if start != BOM:
        file.seek(0)


def _json_lines(file: IO[bytes], place: str) -> Iterator[Row | Flaw]:
    # Iterating bytes splits at newlines only: JSON strings may hold U+2028 and its like.
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield _parsed(line, f"{place}:{number}")


def _parsed(line: bytes, place: str) -> Row | Flaw:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Flaw(place, "", f"byte {error.start} of the line is not UTF-8", "unparsable")
    except json.JSONDecodeError as error:
        return Flaw(place, "", f"not JSON: {error.msg} at column {error.colno}", "unparsable")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        return Flaw(place, "", f"not usable JSON: {error}", "unparsable")
    return _row(value, place)


def _row(value: Any, place: str) -> Row | Flaw:
    if isinstance(value, dict):
        return Row(place, value)
    return Flaw(place, "", f"an object is wanted, not {kind_of(value)}", "wrong-type")


def _json(file: IO[bytes], place: str) -> Iterator[Row | Flaw]:
    """One array of objects, or one object, or an object in each line."""
    data = file.read()
    if not data.strip():
        return
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError("this is not UTF-8 text", where=f"{place}:{line}", remedy="Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        if data.lstrip()[:1] == b"{":
            yield from _json_lines(io.BytesIO(data), place)
            return
        at = f"{place}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else place
        what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise UserError(
            f"not usable JSON: {what}", where=at, remedy="Correct the file, or write one object a line, as .jsonl."
        ) from error
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        yield _row(item, f"{place}[{index}]")


def _csv(delimiter: str) -> Callable[[IO[bytes], str], Iterator[Row | Flaw]]:
    def read(file: IO[bytes], place: str) -> Iterator[Row | Flaw]:
        csv.field_size_limit(MAX_CELL)
        # Bytes that are not UTF-8 become halves of surrogate pairs, by which their row is known afterwards.
        lines = (line.decode("utf-8", "surrogateescape") for line in file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header: list[str] | None = None
        while True:
            at = f"{place}:{reader.line_num + 1}"
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                if header is None:
                    raise UserError(
                        f"not CSV: {error}", where=at, remedy="The first line names the columns."
                    ) from error
                yield Flaw(at, "", f"not CSV: {_csv_problem(str(error))}", "unparsable")
                continue
            if not cells:
                continue
            if header is None:
                header = _header(cells, at, delimiter)
            else:
                yield _cells(cells, header, at)

    return read


def _header(cells: list[str], at: str, delimiter: str) -> list[str]:
    """Raises UserError for names that cannot be the columns'."""
    for other, called in _SEPARATORS.items():
        names = cells[0].split(other) if len(cells) == 1 and other != delimiter else []
        if len(names) > 1 and all(name and name == name.strip() for name in names):
            what = f"there is one column, {cells[0]!r}; it looks as if the columns are separated by {called}"
            ends = ".tsv" if delimiter == "\t" else ".csv"
            raise UserError(what, where=at, remedy=f"A {ends} has {_SEPARATORS[delimiter]} there: save it so.")
    repeated = next((name for i, name in enumerate(cells) if name in cells[:i]), None)
    if repeated is not None:
        raise UserError(f"two columns are called {repeated!r}", where=at, remedy="Rename one of them.")
    if any(_not_utf8(name) for name in cells):
        raise UserError("this is not UTF-8 text", where=at, remedy="Save it as UTF-8.")
    return cells


def _cells(cells: list[str], header: list[str], at: str) -> Row | Flaw:
    if len(cells) != len(header):
        return Flaw(at, "", f"has {len(cells)} cells, and the header {len(header)}", "unparsable")
    wrong = next((name for name, cell in zip(header, cells, strict=True) if _not_utf8(cell)), None)
    if wrong is not None:
        return Flaw(at, wrong, "is not UTF-8", "unparsable")
    return Row(at, dict(zip(header, cells, strict=True)))


def _csv_problem(problem: str) -> str:
    if "unexpected end of data" in problem:
        return "a quote is opened here and closed nowhere, so the rest of the file is left out"
    return problem


def _not_utf8(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)


def _paragraphs(file: IO[bytes], place: str) -> Iterator[Row | Flaw]:
    lines: list[bytes] = []
    start = 0
    for number, line in enumerate(file, start=1):
        if line.strip():
            start = start if lines else number
            lines.append(line)
        elif lines:
            yield _paragraph(lines, f"{place}:{start}")
            lines = []
    if lines:
        yield _paragraph(lines, f"{place}:{start}")


def _paragraph(lines: list[bytes], at: str) -> Row | Flaw:
    try:
        text = b"".join(lines).decode("utf-8").replace("\r\n", "\n").rstrip("\n")
    except UnicodeDecodeError:
        return Flaw(at, "", "is not UTF-8", "unparsable")
    return Row(at, {"text": text})


def _parquet(file: IO[bytes], place: str) -> Iterator[Row | Flaw]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UserError(
            "a Parquet file needs pyarrow, which is not installed",
            where=place,
            remedy="Run: pip install 'accord[parquet]'",
        ) from error
    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1024):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{place}:row {number}", values)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        what = f"the Parquet file cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise UserError(what, where=place, remedy="Check how it was made.") from error


READERS: dict[str, Callable[[IO[bytes], str], Iterator[Row | Flaw]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
    ".txt": _paragraphs,
}

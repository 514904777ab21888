"""The kinds of record as the store keeps them: JSON lines with TRL's columns.

    demonstrations  {"id", "prompt": [{"role", "content"}, ...], "completion": [{"role": "assistant", "content"}]}
    prompts         {"id", "prompt": [...]}
    labelled        {"id", "prompt": [...], "completion": [...], "label": true}
    texts           {"id", "text"}
    comparisons     {"id", "prompt": [...], "responses": ["...", ...],
                     "judgements": [{"annotator": "...", "grades": [2.5, null, ...]}, ...]}
    ratings         {"id", "text", "ratings": [3, 2, ...]}

A prompt whose last message is the assistant's opens the answer: that message is the prefill. Other columns are
ignored. Some optional columns keep what would be lost otherwise, and are written only where they say something:
"prompt_id" of a comparison whose prompt has an id of its own; "finished" of a demonstration (false) and of a
comparison ([true, false, ...]) with responses that ran out of tokens; "imitate_from" of a demonstration of which more
than the last turn is imitated; "safe" of a judgement ([true, null, ...]) that says which responses are safe;
"risk_category" of a prompt that was written to get an unsafe answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, overload

from accord.data.formats.fields import Defect, first_of, get, kind_of, text_of
from accord.data.record_rows import PARSERS, ROWS, JudgedComparison, Record, RecordKind
from accord.errors import UserError
from accord.types import Demonstration, LabelledResponse, PlainText, Prompt, RatedText

__all__ = ["JudgedComparison", "Record", "RecordKind", "from_row", "read_records", "to_row", "write_records"]

MAX_DEFECT_LENGTH = 200  # a message may quote a value, and a value may be megabytes


@overload
def read_records(path: Path, kind: Literal["demonstrations"]) -> list[Demonstration]: ...
@overload
def read_records(path: Path, kind: Literal["prompts"]) -> list[Prompt]: ...
@overload
def read_records(path: Path, kind: Literal["comparisons"]) -> list[JudgedComparison]: ...
@overload
def read_records(path: Path, kind: Literal["ratings"]) -> list[RatedText]: ...
@overload
def read_records(path: Path, kind: Literal["labelled"]) -> list[LabelledResponse]: ...
@overload
def read_records(path: Path, kind: Literal["texts"]) -> list[PlainText]: ...
@overload
def read_records(path: Path, kind: RecordKind) -> list[Any]: ...


def read_records(path: Path, kind: RecordKind) -> Any:
    """All records of a file, in its order.

    Raises UserError when the file cannot be read, or once for all bad rows: the first 20 of them as
    `file:line:field: what`, and their total. Blank lines are skipped.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"the {kind} cannot be read: {error.strerror}", where=str(path), remedy="Check the path."
        ) from error
    parse = PARSERS[kind]
    records: list[Record] = []
    defects: list[str] = []
    first_line: dict[str, int] = {}
    # Split at newlines only: JSON strings may hold U+2028 and its like, at which str.splitlines would also split.
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _row(line)
            record = parse(row)
            earlier = first_line.setdefault(row["id"], number)
            if earlier != number:
                raise Defect("id", f"{row['id']!r} is also the id of line {earlier}")
            records.append(record)
        except Defect as defect:
            place = f"{path}:{number}:{defect.field}" if defect.field else f"{path}:{number}"
            defects.append(f"{place}: {defect.what[:MAX_DEFECT_LENGTH]}")
    if defects:
        raise UserError(
            f"{len(defects)} of {len(defects) + len(records)} {kind} cannot be used:\n  {first_of(defects)}",
            where=str(path),
            remedy="Correct or remove these lines.",
        )
    return records


@overload
def write_records(path: Path, kind: Literal["demonstrations"], records: Iterable[Demonstration]) -> None: ...
@overload
def write_records(path: Path, kind: Literal["prompts"], records: Iterable[Prompt]) -> None: ...
@overload
def write_records(path: Path, kind: Literal["comparisons"], records: Iterable[JudgedComparison]) -> None: ...
@overload
def write_records(path: Path, kind: Literal["ratings"], records: Iterable[RatedText]) -> None: ...
@overload
def write_records(path: Path, kind: RecordKind, records: Iterable[Any]) -> None: ...


def write_records(path: Path, kind: RecordKind, records: Iterable[Any]) -> None:
    """Writes one JSON line a record, which read_records turns back into equal records."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(to_row(kind, record), ensure_ascii=False, allow_nan=False) + "\n")


def to_row(kind: RecordKind, record: Any) -> dict[str, Any]:
    """The columns of a record, as read_records reads them."""
    return ROWS[kind](record)


def from_row(kind: RecordKind, row: dict[str, Any]) -> Any:
    """The record whose columns these are. Raises Defect."""
    return PARSERS[kind](row)


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Defect("", f"byte {error.start} of the line is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise Defect("", f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise Defect("", f"not usable JSON: {error}") from error
    if not isinstance(row, dict):
        raise Defect("", f"an object is wanted, not {kind_of(row)}")
    text_of(get(row, "id"), "id", empty=False)
    return row

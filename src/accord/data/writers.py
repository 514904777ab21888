"""Records to files that others read: JSON lines, CSV, TSV or Parquet, in TRL's columns or in Accord's own.

TRL's columns, with turns as lists of {"role", "content"} (in a cell of CSV as JSON):

    demonstrations  messages, where all of them are whole conversations, else prompt and completion; `imitate_from` is
                    Accord's own, and stands where these do not tell which turns are imitated
    comparisons     prompt, chosen, rejected, and where they say something margin (the mean grades differ by 1 + margin)
                    or votes (one a rater: 1 for chosen, -1 for rejected, 0 for neither), chosen_safe and rejected_safe
                    (what most say who say something). A ranking of more than two responses is one row for each ordered
                    pair, and `group` tells which rows belong together
    labelled        prompt, completion, label
    all of these    risk_category, where a prompt was written to get an unsafe answer
    prompts, texts, ratings   as Accord keeps them (accord.data.records)

A comparison without an order is none of TRL's, and is left out and counted. Accord's own columns keep everything.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accord.data.derive import derive_ranking, mean_grades
from accord.data.records import JudgedComparison, RecordKind, to_row
from accord.errors import UserError
from accord.types import Demonstration, Judgement, Message, Prompt

Form = Literal["trl", "accord"]
Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """num_rows: in the file. num_ties: comparisons that are in none of them, because nothing orders their responses."""

    num_rows: int
    num_ties: int = 0


def write_source(path: Path, kind: RecordKind, records: Iterable[Any], form: Form = "trl") -> Written:
    """Writes records to a .jsonl, .csv, .tsv or .parquet file (all but Parquet also .gz), in place of one of that name.

    Raises UserError for another ending, for a file that cannot be written, and where there is nothing to write.
    """
    _ending(path)  # raises before any work is done
    records = list(records)
    make = _trl_rows(kind, records) if form == "trl" else lambda record: [to_row(kind, record)]
    by_record = [make(record) for record in records]
    rows = [row for made in by_record for row in made]
    if any("margin" in row for row in rows):  # TRL's RewardTrainer wants a number in every row, or in none
        rows = [row if "margin" in row else row | {"margin": 0.0} for row in rows]
    num_ties = sum(not made for made in by_record)
    if not rows:
        what = f"none of the {num_ties} comparisons has an order" if num_ties else f"there are no {kind}"
        raise UserError(
            f"{what}, so there is nothing to write", where=str(path), remedy="Accord's own form keeps ties."
        )
    write_rows(path, rows)
    return Written(len(rows), num_ties)


def write_rows(path: Path, rows: Sequence[Columns]) -> None:
    """Writes rows of plain JSON values, whatever their columns, as write_source does. Raises UserError."""
    data = WRITERS[_ending(path)](rows, path)
    # No time stamp in the archive: the same records are the same file.
    write_file(path, gzip.compress(data, mtime=0) if path.name.lower().endswith(".gz") else data)


def write_file(path: Path, data: bytes) -> None:
    """Replaces a file, or leaves the old one whole. Raises UserError."""
    temp = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        temp.write_bytes(data)
        temp.replace(path)
    except OSError as error:
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        what = f"the file cannot be written: {error.strerror or error}"
        raise UserError(what, where=str(path), remedy="Check the folder.") from error


def _ending(path: Path) -> str:
    name = path.name.lower()
    found = Path(name.removesuffix(".gz")).suffix
    if found not in WRITERS or (found == ".parquet" and name.endswith(".gz")):
        remedy = f"Known: {', '.join(WRITERS)}, and all but .parquet also with .gz."
        raise UserError(f"the ending of this file is not known: {path.name}", where=str(path), remedy=remedy)
    return found


# TRL's columns.


def _trl_rows(kind: RecordKind, records: Sequence[Any]) -> Callable[[Any], list[Columns]]:
    """What makes the rows of a record. One set of columns for the whole file."""
    if kind == "comparisons":
        return _pair_rows
    if kind == "demonstrations" and all(one.imitate_from == 0 and not one.prompt.prefill for one in records):
        return lambda record: [_conversation_row(record)]
    if kind == "demonstrations":
        return lambda record: [_demonstration_row(record)]
    return lambda record: [to_row(kind, record)]


def _conversation_row(record: Demonstration) -> Columns:
    row: Columns = {
        "id": record.prompt.id,
        "messages": [*_turns(record.prompt.messages), *_answer(record.response.text)],
        **_risk(record.prompt),
    }
    return row if record.response.finished else row | {"finished": False}


def _demonstration_row(record: Demonstration) -> Columns:
    """Imitated turns before the last are part of the completion, where the turns before them are a prompt."""
    messages, start = record.prompt.messages, record.imitate_from
    row = to_row("demonstrations", record)
    if start is None or record.prompt.prefill or not 0 < start < len(messages) or messages[start - 1].role != "user":
        return row
    del row["imitate_from"]
    turns = [*_turns(messages), *row["completion"]]
    return row | {"prompt": turns[:start], "completion": turns[start:]}


def _pair_rows(record: JudgedComparison) -> list[Columns]:
    comparison, judgements = record
    means = mean_grades(judgements, len(comparison.responses))
    ranking = derive_ranking(comparison, judgements, tie_below=0.0)
    rows = []
    for pair in ranking.pairs:
        both = [comparison.responses[pair.chosen], comparison.responses[pair.rejected]]
        row: Columns = {"id": comparison.id, "prompt": _prompt(comparison.prompt), **_risk(comparison.prompt)}
        row |= {"chosen": _answer(both[0].text), "rejected": _answer(both[1].text)}
        better, worse = means[pair.chosen], means[pair.rejected]
        assert better is not None and worse is not None, "a pair is ordered by its mean grades"  # noqa: PT018
        margin = round(better - worse - 1, 9)  # 1.3 - 1 is not quite 0.3
        if len(comparison.responses) > 2:
            row |= {"id": f"{comparison.id}-{pair.chosen + 1}-{pair.rejected + 1}", "group": comparison.id}
        if votes := _votes(judgements, pair.chosen, pair.rejected):
            row["votes"] = votes
        elif margin > 0:
            row["margin"] = margin
        for column, index in (("chosen_safe", pair.chosen), ("rejected_safe", pair.rejected)):
            if ranking.safe and ranking.safe[index] is not None:
                row[column] = ranking.safe[index]
        if not all(response.finished for response in both):
            row["finished"] = [response.finished for response in both]
        rows.append(row)
    return rows


def _votes(judgements: Sequence[Judgement], chosen: int, rejected: int) -> list[int]:
    """One vote a rater, where there are several of them, and all said no more than which of two is better."""
    said = [(judgement.grades[chosen], judgement.grades[rejected]) for judgement in judgements]
    known = {(1.0, 0.0): 1, (0.0, 1.0): -1, (0.0, 0.0): 0}
    pairs = [(better, worse) for better, worse in said if better is not None and worse is not None]
    several = len(pairs) > 1 and len(pairs) == len(said)
    return [known[pair] for pair in pairs] if several and all(pair in known for pair in pairs) else []


def _prompt(prompt: Prompt) -> list[Columns]:
    opened = [Message("assistant", prompt.prefill)] if prompt.prefill else []
    return _turns([*prompt.messages, *opened])


def _risk(prompt: Prompt) -> Columns:
    return {"risk_category": prompt.risk_category} if prompt.is_safety else {}


def _answer(text: str) -> list[Columns]:
    return _turns([Message("assistant", text)])


def _turns(messages: Iterable[Message]) -> list[Columns]:
    return [{"role": message.role, "content": message.content} for message in messages]


# Files: each function turns rows into the bytes of a file.


def _json_lines(rows: Sequence[Columns], path: Path) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def _csv(delimiter: str) -> Callable[[Sequence[Columns], Path], bytes]:
    def write(rows: Sequence[Columns], path: Path) -> bytes:
        file = io.StringIO(newline="")
        # Quoted throughout: a bare carriage return is not quoted otherwise, and cannot be read again.
        writer = csv.DictWriter(file, _names(rows), delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
        return file.getvalue().encode()

    return write


def _parquet(rows: Sequence[Columns], path: Path) -> bytes:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        what = "a Parquet file needs pyarrow, which is not installed"
        raise UserError(what, where=str(path), remedy="Run: pip install 'accord[parquet]'") from error
    names = _names(rows)
    file = io.BytesIO()
    try:
        # Of rows with different columns, from_pylist would keep those of the first alone.
        table = pyarrow.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
        pyarrow.parquet.write_table(table, file)
    except (pyarrow.ArrowException, OverflowError) as error:
        what = f"these rows make no table of Parquet: {str(error).splitlines()[0]}"
        raise UserError(what, where=str(path), remedy="Write .jsonl, which takes any values.") from error
    return file.getvalue()


def _names(rows: Sequence[Columns]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)


WRITERS: dict[str, Callable[[Sequence[Columns], Path], bytes]] = {
    ".jsonl": _json_lines,
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
}

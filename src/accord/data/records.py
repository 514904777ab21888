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
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from accord.data.formats.fields import (
    Defect,
    check_start,
    first_of,
    flag_of,
    get,
    kind_of,
    list_of,
    messages_of,
    number_of,
    text_of,
)
from accord.errors import UserError
from accord.types import (
    Comparison,
    Demonstration,
    Judgement,
    LabelledResponse,
    Message,
    PlainText,
    Prompt,
    RatedText,
    Response,
)

RecordKind = Literal["demonstrations", "comparisons", "labelled", "prompts", "texts", "ratings"]
JudgedComparison = tuple[Comparison, tuple[Judgement, ...]]
Record = Demonstration | Prompt | JudgedComparison | LabelledResponse | PlainText | RatedText

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
    parse = _PARSERS[kind]
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
    return _TO_ROW[kind](record)


def from_row(kind: RecordKind, row: dict[str, Any]) -> Any:
    """The record whose columns these are. Raises Defect."""
    return _PARSERS[kind](row)


# Reading: each function takes a row, and raises Defect for the first thing wrong with it.


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


def _demonstration(row: dict[str, Any]) -> Demonstration:
    prompt = _prompt(row)
    completion = messages_of(row, "completion")
    if len(completion) != 1 or completion[0].role != "assistant":
        raise Defect("completion", "one message of the assistant is wanted")
    if not completion[0].content:
        raise Defect("completion[0].content", "is empty, so there is nothing to imitate")
    imitate_from = row.get("imitate_from")
    if imitate_from is not None:
        if isinstance(imitate_from, bool) or not isinstance(imitate_from, int):
            raise Defect("imitate_from", f"the index of a message is wanted, not {kind_of(imitate_from)}")
        check_start(imitate_from, len(prompt.messages))
    response = Response(completion[0].content, flag_of(row.get("finished", True), "finished"))
    return Demonstration(prompt, response, imitate_from)


def _prompt(row: dict[str, Any]) -> Prompt:
    messages = messages_of(row, "prompt")
    prefill = messages.pop().content if messages and messages[-1].role == "assistant" else ""
    if not messages:
        raise Defect("prompt", "holds no message to answer")
    if messages[-1].role == "assistant":
        raise Defect("prompt", "ends in two messages of the assistant")
    category = text_of(row["risk_category"], "risk_category") if "risk_category" in row else ""
    return Prompt(row["id"], tuple(messages), prefill, category)


def _comparison(row: dict[str, Any]) -> JudgedComparison:
    prompt = _prompt(row)
    if "prompt_id" in row:
        prompt = replace(prompt, id=text_of(row["prompt_id"], "prompt_id", empty=False))
    texts = list_of(get(row, "responses"), "responses")
    if len(texts) < 2:
        raise Defect("responses", f"at least two are wanted, here {len(texts)}")
    finished = list_of(row["finished"], "finished") if "finished" in row else [True] * len(texts)
    if len(finished) != len(texts):
        raise Defect("finished", f"holds {len(finished)} values for {len(texts)} responses")
    responses = tuple(
        Response(text_of(texts[i], f"responses[{i}]"), flag_of(finished[i], f"finished[{i}]"))
        for i in range(len(texts))
    )
    judgements = []
    for i, judgement in enumerate(list_of(get(row, "judgements"), "judgements")):
        place = f"judgements[{i}]"
        if not isinstance(judgement, dict):
            raise Defect(place, f"an object is wanted, not {kind_of(judgement)}")
        annotator = text_of(get(judgement, "annotator", f"{place}.annotator"), f"{place}.annotator", empty=False)
        grades = list_of(get(judgement, "grades", f"{place}.grades"), f"{place}.grades")
        if len(grades) != len(texts):
            raise Defect(f"{place}.grades", f"holds {len(grades)} grades for {len(texts)} responses")
        numbers = (
            None if grade is None else number_of(grade, f"{place}.grades[{k}]") for k, grade in enumerate(grades)
        )
        labels = list_of(judgement["safe"], f"{place}.safe") if "safe" in judgement else []
        if labels and len(labels) != len(texts):
            raise Defect(f"{place}.safe", f"holds {len(labels)} labels for {len(texts)} responses")
        safe = tuple(None if label is None else flag_of(label, f"{place}.safe[{k}]") for k, label in enumerate(labels))
        judgements.append(Judgement(row["id"], annotator, tuple(numbers), safe))
    return Comparison(row["id"], prompt, responses), tuple(judgements)


def _labelled(row: dict[str, Any]) -> LabelledResponse:
    demonstration = _demonstration(row)
    return LabelledResponse(demonstration.prompt, demonstration.response, flag_of(get(row, "label"), "label"))


def _plain_text(row: dict[str, Any]) -> PlainText:
    return PlainText(row["id"], text_of(get(row, "text"), "text", empty=False))


def _rated_text(row: dict[str, Any]) -> RatedText:
    text = text_of(get(row, "text"), "text", empty=False)
    ratings = list_of(get(row, "ratings"), "ratings")
    if not ratings:
        raise Defect("ratings", "is empty")
    return RatedText(row["id"], text, tuple(number_of(rating, f"ratings[{i}]") for i, rating in enumerate(ratings)))


# Writing.


def _demonstration_row(record: Demonstration) -> dict[str, Any]:
    row = _prompt_row(record.prompt)
    row["completion"] = [{"role": "assistant", "content": record.response.text}]
    if record.imitate_from is not None:
        row["imitate_from"] = record.imitate_from
    return row if record.response.finished else row | {"finished": False}


def _labelled_row(record: LabelledResponse) -> dict[str, Any]:
    return _demonstration_row(Demonstration(record.prompt, record.response)) | {"label": record.good}


def _plain_text_row(record: PlainText) -> dict[str, Any]:
    return {"id": record.id, "text": record.text}


def _prompt_row(prompt: Prompt) -> dict[str, Any]:
    assert prompt.messages, "a prompt holds a message"
    assert prompt.messages[-1].role != "assistant", "an opened assistant turn is the prefill"
    messages = [*prompt.messages, Message("assistant", prompt.prefill)] if prompt.prefill else prompt.messages
    turns = [{"role": message.role, "content": message.content} for message in messages]
    row: dict[str, Any] = {"id": prompt.id, "prompt": turns}
    return row | {"risk_category": prompt.risk_category} if prompt.risk_category else row


def _comparison_row(record: JudgedComparison) -> dict[str, Any]:
    comparison, judgements = record
    row = _prompt_row(comparison.prompt) | {"id": comparison.id}
    if comparison.prompt.id != comparison.id:
        row["prompt_id"] = comparison.prompt.id
    row["responses"] = [response.text for response in comparison.responses]
    if not all(response.finished for response in comparison.responses):
        row["finished"] = [response.finished for response in comparison.responses]
    assert all(judgement.comparison_id == comparison.id for judgement in judgements), "a judgement of another one"
    row["judgements"] = [_judgement_row(judged) for judged in judgements]
    return row


def _judgement_row(judged: Judgement) -> dict[str, Any]:
    row: dict[str, Any] = {"annotator": judged.annotator, "grades": list(judged.grades)}
    return row | {"safe": list(judged.safe)} if judged.safe else row


def _rated_text_row(record: RatedText) -> dict[str, Any]:
    return {"id": record.id, "text": record.text, "ratings": list(record.ratings)}


_PARSERS: dict[RecordKind, Callable[[dict[str, Any]], Record]] = {
    "demonstrations": _demonstration,
    "prompts": _prompt,
    "comparisons": _comparison,
    "labelled": _labelled,
    "texts": _plain_text,
    "ratings": _rated_text,
}
_TO_ROW: dict[RecordKind, Callable[[Any], dict[str, Any]]] = {
    "demonstrations": _demonstration_row,
    "prompts": _prompt_row,
    "comparisons": _comparison_row,
    "labelled": _labelled_row,
    "texts": _plain_text_row,
    "ratings": _rated_text_row,
}

"""The four kinds of record, as JSON lines with TRL's columns.

    demonstrations  {"id", "prompt": [{"role", "content"}, ...], "completion": [{"role": "assistant", "content"}]}
    prompts         {"id", "prompt": [...]}
    comparisons     {"id", "prompt": [...], "responses": ["...", ...],
                     "judgements": [{"annotator": "...", "grades": [2.5, null, ...]}, ...]}
    ratings         {"id", "text", "ratings": [3, 2, ...]}

A prompt whose last message is the assistant's opens the answer: that message is the prefill. Other columns are
ignored. Three optional columns keep what would be lost otherwise, and are written only where they say something:
"prompt_id" of a comparison whose prompt has an id of its own, "finished" of a demonstration (false) and of a
comparison ([true, false, ...]) with responses that ran out of tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, overload

from accord.errors import UserError
from accord.types import Comparison, Demonstration, Judgement, Message, Prompt, RatedText, Response

RecordKind = Literal["demonstrations", "comparisons", "ratings", "prompts"]
JudgedComparison = tuple[Comparison, tuple[Judgement, ...]]
Record = Demonstration | Prompt | JudgedComparison | RatedText

NUM_DEFECTS_SHOWN = 20
MAX_DEFECT_LENGTH = 200  # a message may quote a value, and a value may be megabytes
ROLES = ("system", "user", "assistant")


@overload
def read_records(path: Path, kind: Literal["demonstrations"]) -> list[Demonstration]: ...
@overload
def read_records(path: Path, kind: Literal["prompts"]) -> list[Prompt]: ...
@overload
def read_records(path: Path, kind: Literal["comparisons"]) -> list[JudgedComparison]: ...
@overload
def read_records(path: Path, kind: Literal["ratings"]) -> list[RatedText]: ...


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
                raise _Defect("id", f"{row['id']!r} is also the id of line {earlier}")
            records.append(record)
        except _Defect as defect:
            place = f"{path}:{number}:{defect.field}" if defect.field else f"{path}:{number}"
            defects.append(f"{place}: {defect.what[:MAX_DEFECT_LENGTH]}")
    if defects:
        shown = defects[:NUM_DEFECTS_SHOWN]
        if len(defects) > len(shown):
            shown.append(f"and {len(defects) - len(shown)} more")
        raise UserError(
            f"{len(defects)} of {len(defects) + len(records)} {kind} cannot be used:\n  " + "\n  ".join(shown),
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
    to_row = _TO_ROW[kind]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in records:
            file.write(json.dumps(to_row(record), ensure_ascii=False, allow_nan=False) + "\n")


# Reading: each function takes a row, and raises _Defect for the first thing wrong with it.


class _Defect(Exception):
    def __init__(self, field: str, what: str) -> None:
        self.field, self.what = field, what
        super().__init__(what)


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Defect("", f"byte {error.start} of the line is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _Defect("", f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise _Defect("", f"not usable JSON: {error}") from error
    if not isinstance(row, dict):
        raise _Defect("", f"an object is wanted, not {_kind_of(row)}")
    _text(_get(row, "id"), "id", empty=False)
    return row


def _demonstration(row: dict[str, Any]) -> Demonstration:
    prompt = _prompt(row)
    completion = _messages(row, "completion")
    if len(completion) != 1 or completion[0].role != "assistant":
        raise _Defect("completion", "one message of the assistant is wanted")
    if not completion[0].content:
        raise _Defect("completion[0].content", "is empty, so there is nothing to imitate")
    return Demonstration(prompt, Response(completion[0].content, _flag(row.get("finished", True), "finished")))


def _prompt(row: dict[str, Any]) -> Prompt:
    messages = _messages(row, "prompt")
    prefill = messages.pop().content if messages and messages[-1].role == "assistant" else ""
    if not messages:
        raise _Defect("prompt", "holds no message to answer")
    if messages[-1].role == "assistant":
        raise _Defect("prompt", "ends in two messages of the assistant")
    return Prompt(row["id"], tuple(messages), prefill)


def _comparison(row: dict[str, Any]) -> JudgedComparison:
    prompt = _prompt(row)
    if "prompt_id" in row:
        prompt = Prompt(_text(row["prompt_id"], "prompt_id", empty=False), prompt.messages, prompt.prefill)
    texts = _list(_get(row, "responses"), "responses")
    if len(texts) < 2:
        raise _Defect("responses", f"at least two are wanted, here {len(texts)}")
    finished = _list(row["finished"], "finished") if "finished" in row else [True] * len(texts)
    if len(finished) != len(texts):
        raise _Defect("finished", f"holds {len(finished)} values for {len(texts)} responses")
    responses = tuple(
        Response(_text(texts[i], f"responses[{i}]"), _flag(finished[i], f"finished[{i}]")) for i in range(len(texts))
    )
    judgements = []
    for i, judgement in enumerate(_list(_get(row, "judgements"), "judgements")):
        place = f"judgements[{i}]"
        if not isinstance(judgement, dict):
            raise _Defect(place, f"an object is wanted, not {_kind_of(judgement)}")
        annotator = _text(_get(judgement, "annotator", f"{place}.annotator"), f"{place}.annotator", empty=False)
        grades = _list(_get(judgement, "grades", f"{place}.grades"), f"{place}.grades")
        if len(grades) != len(texts):
            raise _Defect(f"{place}.grades", f"holds {len(grades)} grades for {len(texts)} responses")
        numbers = (None if grade is None else _number(grade, f"{place}.grades[{k}]") for k, grade in enumerate(grades))
        judgements.append(Judgement(row["id"], annotator, tuple(numbers)))
    return Comparison(row["id"], prompt, responses), tuple(judgements)


def _rated_text(row: dict[str, Any]) -> RatedText:
    text = _text(_get(row, "text"), "text", empty=False)
    ratings = _list(_get(row, "ratings"), "ratings")
    if not ratings:
        raise _Defect("ratings", "is empty")
    return RatedText(row["id"], text, tuple(_number(rating, f"ratings[{i}]") for i, rating in enumerate(ratings)))


def _messages(row: dict[str, Any], field: str) -> list[Message]:
    messages = []
    for i, message in enumerate(_list(_get(row, field), field)):
        place = f"{field}[{i}]"
        if not isinstance(message, dict):
            raise _Defect(place, f"an object with role and content is wanted, not {_kind_of(message)}")
        role = message.get("role")
        if role not in ROLES:
            raise _Defect(f"{place}.role", f"{role!r} is not one of {', '.join(ROLES)}")
        messages.append(Message(role, _text(_get(message, "content", f"{place}.content"), f"{place}.content")))
    return messages


def _get(holder: Mapping[str, Any], key: str, place: str = "") -> Any:
    if key not in holder:
        raise _Defect(place or key, "is missing")
    return holder[key]


def _text(value: object, place: str, *, empty: bool = True) -> str:
    if not isinstance(value, str):
        raise _Defect(place, f"a text is wanted, not {_kind_of(value)}")
    if not value and not empty:
        raise _Defect(place, "is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):  # legal in JSON, but no tokenizer takes it
        raise _Defect(place, "holds half of a surrogate pair")
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Defect(place, f"a list is wanted, not {_kind_of(value)}")
    return value


def _number(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Defect(place, f"a number is wanted, not {_kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Defect(place, "is not a finite number")
    return number


def _flag(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise _Defect(place, f"true or false is wanted, not {_kind_of(value)}")
    return value


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {str: "a text", dict: "an object", list: "a list"}
    return kinds.get(type(value), "a number")


# Writing.


def _demonstration_row(record: Demonstration) -> dict[str, Any]:
    row = _prompt_row(record.prompt)
    row["completion"] = [{"role": "assistant", "content": record.response.text}]
    return row if record.response.finished else row | {"finished": False}


def _prompt_row(prompt: Prompt) -> dict[str, Any]:
    assert prompt.messages, "a prompt holds a message"
    assert prompt.messages[-1].role != "assistant", "an opened assistant turn is the prefill"
    messages = [*prompt.messages, Message("assistant", prompt.prefill)] if prompt.prefill else prompt.messages
    return {"id": prompt.id, "prompt": [{"role": message.role, "content": message.content} for message in messages]}


def _comparison_row(record: JudgedComparison) -> dict[str, Any]:
    comparison, judgements = record
    row = _prompt_row(comparison.prompt) | {"id": comparison.id}
    if comparison.prompt.id != comparison.id:
        row["prompt_id"] = comparison.prompt.id
    row["responses"] = [response.text for response in comparison.responses]
    if not all(response.finished for response in comparison.responses):
        row["finished"] = [response.finished for response in comparison.responses]
    assert all(judgement.comparison_id == comparison.id for judgement in judgements), "a judgement of another one"
    row["judgements"] = [{"annotator": judged.annotator, "grades": list(judged.grades)} for judged in judgements]
    return row


def _rated_text_row(record: RatedText) -> dict[str, Any]:
    return {"id": record.id, "text": record.text, "ratings": list(record.ratings)}


_PARSERS: dict[RecordKind, Callable[[dict[str, Any]], Record]] = {
    "demonstrations": _demonstration,
    "prompts": _prompt,
    "comparisons": _comparison,
    "ratings": _rated_text,
}
_TO_ROW: dict[RecordKind, Callable[[Any], dict[str, Any]]] = {
    "demonstrations": _demonstration_row,
    "prompts": _prompt_row,
    "comparisons": _comparison_row,
    "ratings": _rated_text_row,
}

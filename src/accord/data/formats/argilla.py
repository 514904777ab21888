"""Exports of Argilla: one row a record, with the answers of all annotators.

    Argilla 2, records.to_json, to_list  {"id", "fields": {...}, "responses": {QUESTION: [{"value", "user_id"}]}, ...}
    Argilla 2, flattened or to_datasets  {"id", FIELD: ..., "QUESTION.responses": [...],
                                          "QUESTION.responses.users": [...], "QUESTION.responses.status": [...], ...}
    Argilla 1, records as JSON           {"fields": {...}, "responses": [{"user_id", "values": {QUESTION: {"value"}},
                                          "status"}], "external_id", ...}
    Argilla 1, its data sets of the hub  {FIELD: ..., QUESTION: [{"user_id", "value", "status"}], ...}

Answers that were submitted count; drafts and discarded ones do not. The first form does not tell them apart (Argilla
2.8 writes no status there), so all its answers count: export it flattened where there are drafts. Suggestions are a
model's and are not read. A ranking is a list of {"value", "rank"}, 1 the best, equal ranks being ties. A list of names
alone may be a ranking, the best first, or several labels: it is read as a ranking where the user names its question
(`columns: {question: ...}`). Spans are not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from accord.data.formats.answers import Answer, Listed, Order, Value
from accord.data.formats.fields import Defect, kind_of, list_of, number_of
from accord.data.formats.mapping import Columns
from accord.data.formats.reading import Converted, Row
from accord.data.formats.tasks import Task
from accord.data.formats.tasks import convert as convert_task

SUBMITTED = "submitted"
ABOUT_THE_RECORD = ("id", "status", "_server_id", "external_id", "metadata", "score", "vectors")

Given = tuple[str, object, object, object]  # question, user, value, status


def recognise(values: Mapping[str, Any]) -> bool:
    """Whether a row is a record of Argilla."""
    if isinstance(values.get("fields"), Mapping):
        return isinstance(values.get("responses"), list | Mapping)
    if any(name.endswith((".responses", ".suggestion")) for name in values):
        return True
    return {"_server_id", "status"} <= values.keys() or any(map(_is_answers, values.values()))


def convert(row: Row, columns: Columns | None = None) -> list[Converted]:
    """The records of a row. columns: which field is what, see `accord.data.formats.roles`. Raises Defect."""
    values = row.values
    given = list(_given(values))
    unused = Counter(str(status) for _, _, _, status in given if status not in (SUBMITTED, None))
    ranked = (columns or {}).get("question", [])
    answers = {}
    for i, (question, user, value, status) in enumerate(given):
        if status in (SUBMITTED, None) and (said := _value(value, question)) is not None:
            annotator = f"annotator {i + 1}" if user in (None, "", "None") else str(user)
            if isinstance(said, Listed) and question in ([ranked] if isinstance(ranked, str) else ranked):
                said = Order(tuple((name,) for name in said.names))
            answers[question, annotator] = Answer(question, annotator, said)
    ids = (values.get("id"), values.get("external_id"), values.get("_server_id"))
    name = next((str(one) for one in ids if one not in (None, "")), row.name)
    left_out = ", ".join(f"{count} {status}" for status, count in sorted(unused.items()))
    return convert_task(row, Task(name, _fields(values), list(answers.values()), "responses", left_out), columns or {})


def _fields(values: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = values.get("fields")
    if isinstance(nested, Mapping):
        return nested
    questions = tuple(f"{name}-suggestion" for name, value in values.items() if _is_answers(value))
    return {
        name: value
        for name, value in values.items()
        if name not in ABOUT_THE_RECORD
        and "." not in name
        and not _is_answers(value)
        and not name.startswith(questions)
    }


def _given(values: Mapping[str, Any]) -> Iterator[Given]:
    responses = values.get("responses")
    if not isinstance(values.get("fields"), Mapping):
        yield from _flat(values)
    elif isinstance(responses, Mapping):
        for question, answers in responses.items():
            for answer in _objects(answers, f"responses.{question}"):
                yield question, answer.get("user_id"), answer.get("value"), answer.get("status")
    else:
        for i, response in enumerate(_objects(responses, "responses")):
            said = response.get("values") or {}
            if not isinstance(said, Mapping):
                raise Defect(f"responses[{i}].values", f"an object is wanted, not {kind_of(said)}", "wrong-type")
            for question, answer in said.items():
                value = answer.get("value") if isinstance(answer, Mapping) else answer
                yield question, response.get("user_id"), value, response.get("status")


def _flat(values: Mapping[str, Any]) -> Iterator[Given]:
    for name, value in values.items():
        if name.endswith(".responses") and value is not None:
            answers = list_of(value, name)
            users, statuses = (list_of(values.get(f"{name}.{what}") or [], name) for what in ("users", "status"))
            for part in (users, statuses):
                if part and len(part) != len(answers):
                    raise Defect(name, f"holds {len(answers)} answers of {len(part)} annotators", "wrong-type")
            for i, answer in enumerate(answers):
                user, status = (part[i] if part else None for part in (users, statuses))
                yield name.removesuffix(".responses"), user, answer, status
        elif _is_answers(value):
            for answer in _objects(value, name):
                yield name, answer.get("user_id"), answer.get("value"), answer.get("status")


def _is_answers(value: object) -> bool:
    """Whether this is a column of answers of Argilla 1: objects with user_id, value and status, or their lists."""
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, Mapping) and {"user_id", "value", "status"} <= first.keys()


def _objects(value: object, field: str) -> list[Mapping[str, Any]]:
    """A list of objects, also where it is one object of lists, as tables have it."""
    if isinstance(value, Mapping) and value and all(isinstance(part, list) for part in value.values()):
        if len({len(part) for part in value.values()}) > 1:
            raise Defect(field, "holds lists of different lengths", "wrong-type")
        return [dict(zip(value, parts, strict=True)) for parts in zip(*value.values(), strict=True)]
    items = list_of(value or [], field)
    for i, item in enumerate(items):
        if not isinstance(item, Mapping):
            raise Defect(f"{field}[{i}]", f"an object is wanted, not {kind_of(item)}", "wrong-type")
    return items


def _value(value: object, question: str) -> Value | None:
    """An answer, None where there is none, or one of a kind that is not read."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_of(value, question)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return Listed(tuple(value)) if len(value) > 1 else tuple(value)
    if isinstance(value, list | Mapping) and value:
        items = _objects(value, question)
        return _order(items, question) if all("value" in item for item in items) else None
    return None


def _order(items: list[Mapping[str, Any]], question: str) -> Order | None:
    """Names by rank; in their order where nothing has a rank. Those without a rank beside others have no place."""
    if not any(item.get("rank") is not None for item in items):
        return Order(tuple((str(item["value"]),) for item in items))
    ranked: dict[float, list[str]] = {}
    for item in items:
        if item.get("rank") is not None:
            ranked.setdefault(number_of(item["rank"], f"{question}.rank"), []).append(str(item["value"]))
    return Order(tuple(tuple(ranked[rank]) for rank in sorted(ranked)))

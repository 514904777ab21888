"""Exports of Label Studio: JSON, one row a task with the annotations of everybody, and JSON-MIN, one row an annotation.

    JSON      {"id", "data": {FIELD: ...}, "annotations": [{"completed_by", "was_cancelled", "result": [{"from_name",
              "to_name", "type", "value"}]}]} (of old versions "completions", and "skipped")
    JSON-MIN  {"id", FIELD: ..., CONTROL: answer, "annotator", "annotation_id", "lead_time", ...}

Read are answers of these types: pairwise {"selected": "left"}, where left is the first response by the names of the
fields; choices; rating and number; ranker {"ranker": {LIST: [id, ...]}}, the best first, items of the list "_" having
no place; textarea. Cancelled annotations do not count, predictions are not read, and of an annotator's annotations of a
task the last one counts.

JSON-MIN does not tell fields from answers of texts and choices: what is neither prompt nor response by its name is an
answer. Several annotations of a task are comparisons of their own there, with one prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accord.data.formats.answers import Answer, Order, Value
from accord.data.formats.fields import Defect, kind_of, list_of, number_of
from accord.data.formats.mapping import Columns
from accord.data.formats.reading import Converted, Row
from accord.data.formats.roles import find_roles
from accord.data.formats.tasks import Task
from accord.data.formats.tasks import convert as convert_task

ABOUT_THE_ANNOTATION = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
RESULTS = ("selected", "choices", "rating", "number", "ranker", "text")


def recognise(values: Mapping[str, Any]) -> bool:
    """Whether a row is a task, or an annotation, of Label Studio."""
    if isinstance(values.get("data"), Mapping):
        return isinstance(_annotations(values), list)
    return {"annotation_id", "lead_time"} <= values.keys()


def convert(row: Row, columns: Columns | None = None) -> list[Converted]:
    """The records of a row. columns: which field is what, see `accord.data.formats.roles`. Raises Defect."""
    named = columns or {}
    task = _task(row) if isinstance(row.values.get("data"), Mapping) else _annotation(row, named)
    return convert_task(row, task, named)


def _annotations(values: Mapping[str, Any]) -> object:
    return values.get("annotations", values.get("completions"))


def _task(row: Row) -> Task:
    annotations = [
        (i, one) for i, one in enumerate(list_of(_annotations(row.values), "annotations")) if isinstance(one, Mapping)
    ]
    # Stable: those without a date stay in the order of the file.
    annotations.sort(key=lambda item: str(item[1].get("created_at") or ""))
    answers: dict[tuple[str, str], Answer] = {}
    num_cancelled = 0
    for i, annotation in annotations:
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            num_cancelled += 1
            continue
        annotator = _annotator(annotation.get("completed_by")) or f"annotator {i + 1}"
        results = list_of(annotation.get("result") or [], f"annotations[{i}].result")
        for k, result in enumerate(results):
            place = f"annotations[{i}].result[{k}]"
            if not isinstance(result, Mapping):
                raise Defect(place, f"an object is wanted, not {kind_of(result)}", "wrong-type")
            value = _value(result.get("value"), place)
            if value is not None:
                question = str(result.get("from_name") or result.get("type") or "answer")
                answers[question, annotator] = Answer(question, annotator, value, str(result.get("to_name") or ""))
    unused = f"{num_cancelled} cancelled" if num_cancelled else ""
    name = _name(row.values.get("id")) or row.name
    return Task(name, row.values["data"], list(answers.values()), "annotations", unused)


def _annotation(row: Row, columns: Columns) -> Task:
    shown = {
        name: value for name, value in row.values.items() if name not in ABOUT_THE_ANNOTATION and value is not None
    }
    results = {name: value for name, value in shown.items() if _is_results(value)}
    asked = columns.get("question", [])
    wanted = [asked] if isinstance(asked, str) else asked
    fields = {name: value for name, value in shown.items() if name not in results and name not in wanted}
    roles = find_roles(fields, {ours: theirs for ours, theirs in columns.items() if ours != "question"})
    used = {name for theirs in roles.values() for name in ([theirs] if isinstance(theirs, str) else theirs)}
    annotator = _annotator(row.values.get("annotator")) or "annotator 1"
    answers = [
        Answer(name, annotator, value)
        for name, given in shown.items()
        if name not in used and (value := _minimal(given, name)) is not None
    ]
    task, annotation = _name(row.values.get("id")), _name(row.values["annotation_id"])
    name = "-".join(part for part in (task, annotation) if part) or row.name
    unused = "JSON-MIN does not tell which text is one: name it, columns: {question: ...}, or export JSON"
    kept = {name: value for name, value in fields.items() if name in used}
    return Task(name, kept, answers, "", unused, prompt_id=task)


def _is_results(value: object) -> bool:
    """Whether a value of JSON-MIN is what annotators answered, rather than what they saw."""
    return isinstance(value, list) and bool(value) and all(map(_is_result, value))


def _is_result(item: object) -> bool:
    if not isinstance(item, Mapping) or not set(item) & set(RESULTS):
        return False
    return "text" not in item or isinstance(item["text"], list)


def _minimal(value: object, name: str) -> Value | None:
    """An answer of JSON-MIN, where single choices and texts are bare."""
    if isinstance(value, str):
        return value or None
    if _is_results(value):
        assert isinstance(value, list)
        return next(_values(value, name), None)
    return None


def _values(results: Sequence[object], place: str) -> Iterator[Value]:
    return (value for result in results if (value := _value(result, place)) is not None)


def _value(value: object, place: str) -> Value | None:
    """An answer, None where it is of a type that is not read."""
    if not isinstance(value, Mapping):
        return None
    if isinstance(selected := value.get("selected"), str):
        return selected if selected != "none" else None
    if "rating" in value or "number" in value:
        return number_of(value.get("rating", value.get("number")), place)
    if "choices" in value:
        choices = list_of(value["choices"], f"{place}.choices")
        return tuple(choices) if choices and all(isinstance(one, str) for one in choices) else None
    if "ranker" in value:
        return _order(value["ranker"], place)
    texts = value.get("text")
    texts = [texts] if isinstance(texts, str) else texts
    if isinstance(texts, list) and texts and all(isinstance(one, str) for one in texts):
        return "\n".join(texts)
    return None


def _order(ranker: object, place: str) -> Order | None:
    lists = (
        {name: items for name, items in ranker.items() if name != "_"} if isinstance(ranker, Mapping) else {"": ranker}
    )
    if len(lists) > 1:
        names = ", ".join(lists)
        raise Defect(place, f"sorts into several lists, and which is better is not told: {names}", "unclear-answer")
    for items in lists.values():
        names_in_order = [str(item) for item in list_of(items, place)]
        return Order(tuple((name,) for name in names_in_order)) if names_in_order else None
    return None


def _annotator(value: object) -> str:
    """A number, an address, or an object with one of them."""
    if isinstance(value, Mapping):
        value = value.get("id", value.get("email"))
    return _name(value)


def _name(value: object) -> str:
    return str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""

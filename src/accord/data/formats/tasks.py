"""A task of an annotation tool with the answers to it, as records of Accord.

What was answered makes the record (accord.data.formats.roles tells which fields are which):

    two responses and more  labels, orders and ratings order them: a comparison, with one judgement an annotator
    one response            a rating: a comparison, with the other responses to its prompt; a word such as good or bad:
                            a labelled response, as most annotators say; a text that corrects it: a demonstration
    a prompt alone          a text, which is a demonstration
    a text alone            its ratings

Of several questions that would do, the user names one: `columns: {question: QUESTION}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accord.data.formats import columns as named_columns
from accord.data.formats.answers import Answer, Responses, orders, words
from accord.data.formats.fields import Defect
from accord.data.formats.mapping import Columns, mapped, their_field
from accord.data.formats.reading import Converted, Row
from accord.data.formats.roles import ANSWERS, find_roles, plain, response_names

# fmt: off
GOOD = frozenset({
    "good", "yes", "true", "accept", "accepted", "acceptable", "helpful", "safe", "correct", "up", "positive", "like",
    "approve", "approved",
})
BAD = frozenset({
    "bad", "no", "false", "reject", "rejected", "unacceptable", "unhelpful", "unsafe", "incorrect", "down", "negative",
    "dislike",
})
# fmt: on
# A text is an answer to imitate by the name of its question, so that no remark or topic becomes one.
WRITTEN = re.compile(rf"\b({'|'.join(ANSWERS)}|correct\w*|rewr[io]t\w*|improve\w*|revis\w*|edit\w*|demonstration)\b")
REMARK = re.compile(r"\b(reason\w*|rationale\w*|comment\w*|note\w*|expla\w*|feedback|why|justif\w*)\b")


@dataclass(frozen=True, slots=True)
class Task:
    """fields: what the annotators saw. answers: what they said, one an annotator and question at most.

    source: where in the row the answers stand, for messages. unused: what was left out, for example "2 drafts".
    prompt_id: where several tasks are about one prompt.
    """

    id: str
    fields: Mapping[str, Any]
    answers: Sequence[Answer]
    source: str
    unused: str = ""
    prompt_id: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A column of ours that holds what was answered, and the annotators where it is a list of one value each."""

    column: str
    value: Any
    annotators: tuple[str, ...] = ()


GOES_WITH: Mapping[str, tuple[str, ...]] = {
    "judgements": ("prompt", "system", "responses"),
    "rating": ("prompt", "system", "completion"),
    "label": ("prompt", "system", "completion"),
    "completion": ("prompt", "system"),
    "ratings": ("text",),
}


def convert(row: Row, task: Task, columns: Columns) -> list[Converted]:
    """The records of a task. Raises Defect when nobody answered, or when fields or answers are not understood."""
    fields = {name: value for name, value in task.fields.items() if value is not None}
    roles = find_roles(fields, {ours: theirs for ours, theirs in columns.items() if ours != "question"})
    if not task.answers:
        raise Defect(task.source, f"holds no answer{f' ({task.unused})' if task.unused else ''}", "unanswered")
    answers = _to_question(task, columns["question"]) if "question" in columns else list(task.answers)
    made = _made(task, answers, roles, fields, free_names="question" in columns)
    values = mapped({name: plain(value) for name, value in fields.items()}, roles)
    records = []
    for i, one in enumerate(made, start=1):
        name = task.id if len(made) == 1 else f"{task.id}-{i}"
        kept = {ours: values[ours] for ours in GOES_WITH[one.column] if ours in values}
        if task.prompt_id and one.column == "judgements":
            kept["prompt_id"] = task.prompt_id
        try:
            converted = named_columns.convert(Row(row.place, {**kept, "id": name, one.column: one.value}))
        except Defect as defect:
            raise Defect(their_field(defect.field, roles), defect.what, defect.code) from defect
        records += [_with_names(record, one.annotators) for record in converted]
    return records


def _made(
    task: Task, answers: Sequence[Answer], roles: Columns, fields: Mapping[str, Any], *, free_names: bool
) -> list[Made]:
    """What the answers make of the task: one Made, or a demonstration an annotator."""
    if "responses" in roles:
        names = roles["responses"]
        responses = Responses(names if isinstance(names, list) else response_names(fields[names]))
        found = _comparison(task, answers, responses) or _written(task, answers, free_names)
        if not found:
            raise _unclear(task, answers, f"the responses are {', '.join(responses.names)}")
        return found
    if "completion" in roles:
        # What calls the response good or bad is no text, whatever its question is called (answer_quality).
        texts = [answer for answer in answers if _is_good(answer) is None]
        written = _written(task, texts, free_names)
        ways = [way for way in (_rated(task, answers, "rating"), _labelled(task, answers), written) if way]
        if len(ways) > 1:
            raise _ambiguous(task, dict.fromkeys(answer.question for answer in answers))
        found = ways[0] if ways else []
    elif "prompt" in roles:
        found = _written(task, answers, free_names)
    else:
        found = _rated(task, answers, "ratings")
    if not found:
        raise _unclear(task, answers, f"the fields are {', '.join(fields)}")
    return found


def _comparison(task: Task, answers: Sequence[Answer], responses: Responses) -> list[Made]:
    found = orders(answers, responses)
    if len(found) > 1:
        raise _ambiguous(task, found)
    return [
        Made("judgements", [{"annotator": name, "grades": list(grades)} for name, grades in given.items()])
        for given in found.values()
    ]


def _rated(task: Task, answers: Sequence[Answer], column: str) -> list[Made]:
    rated = {answer.annotator: answer.value for answer in answers if isinstance(answer.value, float)}
    questions = dict.fromkeys(answer.question for answer in answers if isinstance(answer.value, float))
    if len(questions) > 1:
        raise _ambiguous(task, questions)
    return [Made(column, list(rated.values()), tuple(rated))] if rated else []


def _labelled(task: Task, answers: Sequence[Answer]) -> list[Made]:
    said = {answer.annotator: good for answer in answers if (good := _is_good(answer)) is not None}
    questions = dict.fromkeys(answer.question for answer in answers if _is_good(answer) is not None)
    if len(questions) > 1:
        raise _ambiguous(task, questions)
    num_good = sum(said.values())
    if said and 2 * num_good == len(said):
        raise Defect(task.source, f"as many annotators call it good as bad: {num_good}", "divided")
    return [Made("label", 2 * num_good > len(said))] if said else []


def _written(task: Task, answers: Sequence[Answer], free_names: bool) -> list[Made]:
    def wanted(question: str) -> bool:
        name = " ".join(words(question))
        return free_names or (WRITTEN.search(name) is not None and REMARK.search(name) is None)

    texts = [answer for answer in answers if isinstance(answer.value, str) and wanted(answer.question)]
    questions = dict.fromkeys(answer.question for answer in texts)
    if len(questions) > 1:
        raise _ambiguous(task, questions)
    return [Made("completion", answer.value) for answer in texts]


def _is_good(answer: Answer) -> bool | None:
    """What a label of a few words says of a response."""
    value = answer.value[0] if isinstance(answer.value, tuple) and len(answer.value) == 1 else answer.value
    said = words(value) if isinstance(value, str) and len(value) <= 40 else ()
    if len(said) > 3:
        return None
    good, bad = bool(GOOD.intersection(said)), bool(BAD.intersection(said))
    if "not" in said:
        good, bad = bad, good
    return None if good == bad else good


def _to_question(task: Task, wanted: str | list[str]) -> list[Answer]:
    names = [wanted] if isinstance(wanted, str) else wanted
    found = [answer for answer in task.answers if answer.question in names]
    if not found:
        asked = ", ".join(dict.fromkeys(answer.question for answer in task.answers))
        raise Defect(task.source, f"holds no answer to {', '.join(names)}, but to {asked}", "unanswered")
    return found


def _with_names(converted: Converted, annotators: Sequence[str]) -> Converted:
    """Judgements with their annotators, where a column had none."""
    kind, record = converted
    if not annotators or not isinstance(record, tuple):
        return converted
    comparison, judgements = record
    named = zip(judgements, annotators, strict=True)
    return kind, (comparison, tuple(replace(judgement, annotator=name) for judgement, name in named))


def _ambiguous(task: Task, questions: Iterable[str]) -> Defect:
    names = ", ".join(questions)
    return Defect(
        task.source, f"several questions would do: {names}. Name one: columns: {{question: ...}}", "ambiguous"
    )


def _unclear(task: Task, answers: Sequence[Answer], what: str) -> Defect:
    said = ", ".join(f"{answer.question}: {answer.value!r}" for answer in answers[:3])
    return Defect(task.source, f"no answer tells what to learn ({said}); {what}", "unclear-answer")

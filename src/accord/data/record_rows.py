"""The columns of each kind of record: a row's record, and a record's row. `accord.data.records` says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from accord.data.formats.fields import (
    Defect,
    check_start,
    flag_of,
    get,
    kind_of,
    list_of,
    messages_of,
    number_of,
    text_of,
)
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

# Reading: each function takes a row, and raises Defect for the first thing wrong with it.


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


PARSERS: dict[RecordKind, Callable[[dict[str, Any]], Record]] = {
    "demonstrations": _demonstration,
    "prompts": _prompt,
    "comparisons": _comparison,
    "labelled": _labelled,
    "texts": _plain_text,
    "ratings": _rated_text,
}
ROWS: dict[RecordKind, Callable[[Any], dict[str, Any]]] = {
    "demonstrations": _demonstration_row,
    "prompts": _prompt_row,
    "comparisons": _comparison_row,
    "labelled": _labelled_row,
    "texts": _plain_text_row,
    "ratings": _rated_text_row,
}

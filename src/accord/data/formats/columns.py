"""Rows with named columns: TRL's, the usual others, and by a mapping those of any file.

Which columns a row has tells what it is (`SHAPES`, the first that fits). A text as prompt is one turn of the user; a
prompt, chosen, rejected or completion may also be a list of turns, or a dialogue in one text. A prompt that ends in a
turn of the assistant opens the answer (the prefill). Optional columns: `id`; `system`, a message put first; `finished`
(false: the response ran out of tokens); of responses `safe`; of chosen and rejected `margin`, `tie`, `votes`,
`chosen_safe` and `rejected_safe`; `risk_category` of prompts that were written to get an unsafe answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from accord.data.formats import grades
from accord.data.formats.dialogue import parse_dialogue
from accord.data.formats.exchanges import Dialogues, Values, asked, continued, holds_dialogue, opening, system_of
from accord.data.formats.fields import Defect, check_start
from accord.data.formats.reading import Converted, Row
from accord.data.formats.turns import (
    answer_of,
    flag_in,
    is_turns,
    list_in,
    number_in,
    prompt_of,
    response_in,
    text_in,
    turns_in,
)
from accord.data.records import Record, RecordKind
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

SAFE = ("chosen_safe", "rejected_safe")
RISK = "risk_category"
OPTIONAL = ("id", "prompt_id", "system", "finished", "imitate_from", "margin", "tie", "votes", "safe", *SAFE, RISK)


@dataclass(frozen=True, slots=True)
class Shape:
    """A set of columns that makes a row a record of a kind. The columns may stand beside others."""

    kind: RecordKind
    columns: tuple[str, ...]
    convert: Callable[[Values, str, Dialogues], Any]


def shape_of(values: Values, kind: RecordKind | None = None, dialogues: Dialogues = None) -> Shape | None:
    """The first shape that a row has the columns of; of one kind only, if it is given."""
    for shape in SHAPES:
        fits = kind in (None, shape.kind) and all(values.get(name) is not None for name in shape.columns)
        if fits and (shape.convert is not _dialogue or holds_dialogue(values["text"], dialogues)):
            return shape
    return None


def check_kind(values: Values, kind: RecordKind, wanted: RecordKind | None, dialogues: Dialogues = None) -> None:
    """Raises Defect for a row of a source of one kind that has not its columns, or more: it is of another kind then."""
    shape = shape_of(values, wanted, dialogues)
    for empty, other in (("chosen", "rejected"), ("rejected", "chosen")):
        half = values.get(empty) is None and values.get(other) is not None
        if half and wanted in (None, "comparisons"):  # not a prompt, whatever else is left of the row
            if empty in values:
                raise Defect(empty, f"is null, and {other} is not", "missing")
            if shape is None or shape.kind == "prompts":
                raise Defect(empty, f"is missing, and {other} is there", "missing")
    if shape and shape.kind == kind:
        return
    present = {name for name, value in values.items() if value is not None}
    nearest = min(
        (set(one.columns) for one in SHAPES if one.kind == kind),
        key=lambda names: (len(names - present), -len(names & present - {"prompt"})),
    )
    if not nearest - present:
        raise Defect("", f"holds {shape.kind if shape else 'nothing'}, and the source {kind}", "mixed-kinds")
    raise Defect(min(nearest - present), f"is missing, and the source holds {kind}", "missing")


def convert(row: Row, kind: RecordKind | None = None, dialogues: Dialogues = None) -> list[Converted]:
    """The record of a row. Raises Defect for the first thing wrong with it.

    A rated response is a comparison with one response until all responses to its prompt have been gathered.
    """
    values = _given(row)
    shape = shape_of(values, kind, dialogues)
    if shape is None:
        wanted = " or ".join("+".join(shape.columns) for shape in SHAPES if kind in (None, shape.kind))
        raise Defect("", f"lacks columns of {kind or 'any known kind'}: {wanted}", "missing")
    record = shape.convert(values, _id(values, row), dialogues)
    return [(shape.kind, _at_risk(record, text_in(values[RISK], RISK)) if RISK in values else record)]


def other_defects(row: Row, first: Defect, dialogues: Dialogues = None) -> list[Defect]:
    """What else is wrong with a row of which `convert` raised `first`: the columns of texts, each looked at alone."""
    values = _given(row)
    found = []
    for field in ("prompt", "completion", "chosen", "rejected"):
        if field not in values or first.field.startswith(field):
            continue
        try:
            if field == "prompt":
                prompt_of(row.name, opening(values, dialogues)[0], field)
            else:
                continued([], values, field, dialogues, in_dialogue=False)
        except Defect as defect:
            found.append(defect)
    return found


def _given(row: Row) -> dict[str, Any]:
    """The cells that hold something; in a table without nulls the empty cell of an optional column holds nothing."""
    return {
        name: value
        for name, value in row.values.items()
        if value is not None and not (name in OPTIONAL and isinstance(value, str) and not value)
    }


# Each function takes the values of a row, the id of its record and whether texts may be dialogues.


def _pair(values: Values, name: str, dialogues: Dialogues) -> tuple[Comparison, tuple[Judgement, ...]]:
    before, in_dialogue = opening(values, dialogues) if "prompt" in values else (system_of(values), False)
    chosen, answer = continued(before, values, "chosen", dialogues, in_dialogue)
    rejected, other = continued(before, values, "rejected", dialogues, in_dialogue)
    if chosen != rejected:
        raise Defect("rejected", "does not share its turns before the last with chosen", "no-shared-prefix")
    if answer == other:
        raise Defect("rejected", "is equal to chosen", "equal-responses")
    prompt = asked(name, before if "prompt" in values else None, chosen, "chosen")
    given = _pair_grades(values)
    comparison = Comparison(name, prompt, _responses([answer, other], values))
    if any(values.get(column, "") != "" for column in SAFE):
        said = [flag_in(values[column], column) if values.get(column, "") != "" else None for column in SAFE]
        values = {**values, "safe": said}
    return comparison, grades.with_safe(grades.by_rater(given, name), values, name, 2)


def _pair_grades(values: Values) -> tuple[grades.Grades, ...]:
    """Votes, where there are any; a tie is one whatever the votes say, because its order is arbitrary."""
    votes = grades.of_votes(list_in(values["votes"], "votes"), 2, "votes") if values.get("votes", "") != "" else ()
    if values.get("tie", "") != "" and flag_in(values["tie"], "tie"):
        return grades.TIE
    if votes:
        if sum((first or 0.0) - (second or 0.0) for first, second in votes) < 0:
            raise Defect("votes", "prefer the rejected response", "contradiction")
        return votes
    margin = number_in(values["margin"], "margin") if values.get("margin", "") != "" else 0.0
    if margin < 0:
        raise Defect("margin", "is negative")
    return ((1.0 + margin, 0.0),)


def _candidates(values: Values, name: str, dialogues: Dialogues) -> tuple[Comparison, tuple[Judgement, ...]]:
    messages, _ = opening(values, dialogues)
    texts = [response_in(text, f"responses[{i}]") for i, text in enumerate(list_in(values["responses"], "responses"))]
    if len(texts) < 2:
        raise Defect("responses", f"at least two are wanted, here {len(texts)}", "missing")
    if len(set(texts)) == 1:
        raise Defect("responses", "are all equal", "equal-responses")
    prompt = prompt_of(text_in(values.get("prompt_id", name), "prompt_id"), messages, "prompt")
    judgements = grades.judgements_in(values, name, len(texts))
    return Comparison(name, prompt, _responses(texts, values)), judgements


def _rated(values: Values, name: str, dialogues: Dialogues) -> tuple[Comparison, tuple[Judgement, ...]]:
    shown = _demonstration(values, name, dialogues)
    rating = values["rating"]
    ratings = list_in(rating, "rating") if isinstance(rating, list) or str(rating).lstrip()[:1] == "[" else [rating]
    given = [None if one in (None, "") else number_in(one, f"rating[{i}]") for i, one in enumerate(ratings)]
    judgements = grades.by_rater(tuple((one,) for one in given), name)
    if not isinstance(values.get("safe", []), list):
        values = {**values, "safe": [values["safe"]]}
    return Comparison(name, shown.prompt, (shown.response,)), grades.with_safe(judgements, values, name, 1)


def _labelled(values: Values, name: str, dialogues: Dialogues) -> LabelledResponse:
    shown = _demonstration(values, name, dialogues)
    return LabelledResponse(shown.prompt, shown.response, flag_in(values["label"], "label"))


def _demonstration(values: Values, name: str, dialogues: Dialogues) -> Demonstration:
    """A completion of several turns is the demonstration of its last, of which the others are imitated, too."""
    messages, in_dialogue = opening(values, dialogues)
    before, answer = continued(messages, values, "completion", dialogues, in_dialogue)
    prompt = asked(name, messages, before, "completion")
    imitate_from = len(messages) if len(before) > len(messages) else None
    if "imitate_from" in values:
        index = number_in(values["imitate_from"], "imitate_from")
        if not index.is_integer():
            raise Defect("imitate_from", f"the index of a message is wanted, not {index:g}", "wrong-type")
        imitate_from = check_start(int(index), len(prompt.messages))
    return Demonstration(prompt, Response(answer, _finished(values)), imitate_from)


def _conversation(values: Values, name: str, dialogues: Dialogues) -> Demonstration:
    value = values["messages"]
    parse = parse_dialogue if holds_dialogue(value, dialogues) and not is_turns(value) else turns_in
    turns = parse(value, "messages")
    return _whole(values, name, turns, "messages")


def _dialogue(values: Values, name: str, dialogues: Dialogues) -> Demonstration:
    return _whole(values, name, parse_dialogue(values["text"], "text"), "text")


def _whole(values: Values, name: str, turns: list[Message], field: str) -> Demonstration:
    answer = answer_of(turns, f"{field}[{len(turns) - 1}]" if turns else field)
    prompt = asked(name, None, [*system_of(values), *turns[:-1]], field)
    return Demonstration(prompt, Response(answer, _finished(values)), imitate_from=0)


def _prompt(values: Values, name: str, dialogues: Dialogues) -> Prompt:
    return prompt_of(name, opening(values, dialogues)[0], "prompt")


def _ratings(values: Values, name: str, dialogues: Dialogues) -> RatedText:
    numbers = [number_in(one, f"ratings[{i}]") for i, one in enumerate(list_in(values["ratings"], "ratings"))]
    if not numbers:
        raise Defect("ratings", "is empty", "missing")
    return RatedText(name, _document(values), tuple(numbers))


def _text(values: Values, name: str, dialogues: Dialogues) -> PlainText:
    return PlainText(name, _document(values))


SHAPES = (
    Shape("comparisons", ("prompt", "responses"), _candidates),
    Shape("comparisons", ("chosen", "rejected"), _pair),
    Shape("labelled", ("prompt", "completion", "label"), _labelled),
    Shape("comparisons", ("prompt", "completion", "rating"), _rated),
    Shape("demonstrations", ("prompt", "completion"), _demonstration),
    Shape("demonstrations", ("messages",), _conversation),
    Shape("ratings", ("text", "ratings"), _ratings),
    Shape("demonstrations", ("text",), _dialogue),
    Shape("prompts", ("prompt",), _prompt),
    Shape("texts", ("text",), _text),
)


def _responses(texts: list[str], values: Values) -> tuple[Response, ...]:
    finished = list_in(values["finished"], "finished") if "finished" in values else [True] * len(texts)
    if len(finished) != len(texts):
        raise Defect("finished", f"holds {len(finished)} values for {len(texts)} responses")
    return tuple(Response(text, flag_in(finished[i], f"finished[{i}]")) for i, text in enumerate(texts))


def _finished(values: Values) -> bool:
    return flag_in(values["finished"], "finished") if values.get("finished", "") != "" else True


def _document(values: Values) -> str:
    text = text_in(values["text"], "text")
    if not text.strip():
        raise Defect("text", "is empty", "empty")
    return text


def _at_risk(record: Record, category: str) -> Record:
    """The record with the risk category of its prompt."""
    if isinstance(record, Prompt):
        return replace(record, risk_category=category)
    if isinstance(record, Demonstration | LabelledResponse):
        return replace(record, prompt=replace(record.prompt, risk_category=category))
    if isinstance(record, tuple):
        comparison, judgements = record
        return replace(comparison, prompt=replace(comparison.prompt, risk_category=category)), judgements
    return record


def _id(values: Values, row: Row) -> str:
    """The row's own id, if it has one; numbers will do."""
    given = values.get("id", "")
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return text_in(given, "id") or row.name

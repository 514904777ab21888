"""The texts of a record, each with the field that it stands in: what checks and audits look at, whatever the kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from accord.data.derive import mean_grades
from accord.data.records import RecordKind
from accord.data.splits import prompt_of
from accord.types import Comparison, Judgement, Message, Response

Part = Literal["prompt", "chosen", "rejected", "response", "text"]
PARTS: tuple[Part, ...] = ("prompt", "chosen", "rejected", "response", "text")


@dataclass(frozen=True, slots=True)
class Passage:
    """One text of a record. field: as in `prompt[2]`, `chosen`, `responses[3]`, `completion`, `text`."""

    field: str
    part: Part
    text: str


def passages(kind: RecordKind, record: Any) -> list[Passage]:
    """Every text of a record, the prompt's messages first."""
    prompt = prompt_of(record, kind)
    if prompt is None:
        return [Passage("text", "text", record.text)]
    turns = [*prompt.messages, Message("assistant", prompt.prefill)] if prompt.prefill else prompt.messages
    given = [Passage(f"prompt[{at}]", "prompt", message.content) for at, message in enumerate(turns)]
    return given + [Passage(field, part, response.text) for field, part, response in responses_of(kind, record)]


def responses_of(kind: RecordKind, record: Any) -> Iterator[tuple[str, Part, Response]]:
    """The responses with their fields. Those of a pair that has an order are called `chosen` and `rejected`."""
    if kind in ("demonstrations", "labelled"):
        yield "completion", "response", record.response
    elif kind == "comparisons":
        comparison, judgements = record
        for at, (part, response) in enumerate(zip(_places(comparison, judgements), comparison.responses, strict=True)):
            yield (f"responses[{at}]" if part == "response" else part), part, response


def ordered_pairs(comparison: Comparison, judgements: tuple[Judgement, ...]) -> list[tuple[int, int]]:
    """(better, worse) of every two responses whose mean grades differ, however little."""
    means = mean_grades(judgements, len(comparison.responses))
    graded = [(at, mean) for at, mean in enumerate(means) if mean is not None]
    return [(i, j) for i, better in graded for j, worse in graded if better > worse]


def _places(comparison: Comparison, judgements: tuple[Judgement, ...]) -> list[Part]:
    pairs = ordered_pairs(comparison, judgements)
    if len(comparison.responses) != 2 or not pairs:
        return ["response"] * len(comparison.responses)
    return ["chosen", "rejected"] if pairs[0] == (0, 1) else ["rejected", "chosen"]

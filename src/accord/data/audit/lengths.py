"""How long the texts of a data set are: percentiles and histograms, in words or in a model's tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from accord.data.audit.budget import Rendered
from accord.data.audit.passages import PARTS, responses_of
from accord.data.formats.reading import Reading
from accord.data.splits import prompt_of


@dataclass(frozen=True, slots=True)
class Bin:
    """So many lengths from `low` to `high`, both included."""

    low: int
    high: int
    count: int

    @property
    def label(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True, slots=True)
class Lengths:
    """of: a part of the records ("prompt", "chosen", ...) or "turns". unit: what is counted."""

    of: str
    unit: str
    count: int
    median: int
    p95: int
    max: int
    bins: tuple[Bin, ...]


def lengths(reading: Reading, rendered: list[Rendered | None] | None) -> list[Lengths]:
    """Of each part that the records have. rendered: their tokens; None: words are counted."""
    found: dict[str, list[int]] = {part: [] for part in ("turns", *PARTS)}
    for at, record in enumerate(reading.records):
        prompt = prompt_of(record, reading.kind)
        if prompt is not None:
            found["turns"].append(len(prompt.messages) + (reading.kind != "prompts"))
        tokens = rendered[at] if rendered is not None else None
        if tokens is not None:
            if prompt is not None:
                found["prompt"].append(len(tokens[0]))
            for _, part, ids in tokens[1]:
                found[part].append(len(ids))
        elif rendered is None and prompt is not None:
            texts = [message.content for message in prompt.messages] + [prompt.prefill]
            found["prompt"].append(sum(len(text.split()) for text in texts))
            for _, part, response in responses_of(reading.kind, record):
                found[part].append(len(response.text.split()))
        elif rendered is None:
            found["text"].append(len(record.text.split()))
    unit = "words" if rendered is None else "tokens"
    return [measure(name, "turns" if name == "turns" else unit, values) for name, values in found.items() if values]


def measure(of: str, unit: str, values: Iterable[int]) -> Lengths:
    """Percentiles are values that occur (the nearest rank, from below). Bins double in width: 1, 2, 3 to 4, 5 to 8."""
    ordered = sorted(values)
    counts: dict[int, int] = {}
    for value in ordered:
        counts[_bin(value)] = counts.get(_bin(value), 0) + 1
    bins = [Bin(*_ends(at), counts.get(at, 0)) for at in range(min(counts), max(counts) + 1)]

    def rank(share: float) -> int:
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]

    return Lengths(of, unit, len(ordered), rank(0.5), rank(0.95), ordered[-1], tuple(bins))


def _bin(value: int) -> int:
    """0 -> 0, 1 -> 1, 2 -> 2, 3 and 4 -> 3, 5 to 8 -> 4, ..."""
    return 0 if value == 0 else (value - 1).bit_length() + 1


def _ends(at: int) -> tuple[int, int]:
    return (at, at) if at <= 2 else (2 ** (at - 2) + 1, 2 ** (at - 1))

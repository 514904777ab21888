"""Prompts that stand on both sides: shared by two data sets (or two parts of one), or taken from evaluation texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from accord.data.audit.passages import passages
from accord.data.duplicates import NGRAM, THRESHOLD, identity, near_duplicates, ngram_overlap
from accord.data.formats.reading import Flaw, Reading
from accord.data.splits import prompt_of, text_to_compare


def shared_prompts(readings: Mapping[str, Reading]) -> Iterator[tuple[str, Flaw]]:
    """Records of a data set whose prompt an earlier data set has too, or nearly, each with the name of its data set.

    Prompts are compared as they are split: by their first turn of the user, without case and punctuation; with the
    prefill, which for some data is all that tells prompts apart. Texts are compared as a whole.
    """
    entries = [
        (name, place, topic_of(reading, record))
        for name, reading in readings.items()
        for record, place in zip(reading.records, reading.places, strict=True)
    ]
    for group in near_duplicates([topic for _, _, topic in entries], THRESHOLD):
        members = sorted(group)
        first_name, first_place, first_topic = entries[members[0]]
        for name, place, topic in (entries[at] for at in members):
            if name != first_name:
                how = "is also that of" if identity(topic) == identity(first_topic) else "is nearly that of"
                other = first_place if first_place.startswith(first_name) else f"{first_place} ({first_name})"
                yield name, Flaw(place, "prompt", f"{how} {other}", "shared-prompt")


def contaminated(reading: Reading, evaluation: Sequence[tuple[str, str]]) -> Iterator[Flaw]:
    """Texts that hold a run of words of an evaluation text. evaluation: (place, text)."""
    found = [
        (place, passage)
        for record, place in zip(reading.records, reading.places, strict=True)
        for passage in passages(reading.kind, record)
    ]
    hits = ngram_overlap([passage.text for _, passage in found], [text for _, text in evaluation])
    told: set[int] = set()
    for hit in sorted(hits, key=lambda hit: (hit.text, -hit.share)):
        if hit.text in told:
            continue
        told.add(hit.text)
        place, passage = found[hit.text]
        what = f"holds {100 * hit.share:.0f} % of the runs of {NGRAM} words of {evaluation[hit.other][0]}"
        yield Flaw(place, passage.field, what, "in-evaluation")


def topic_of(reading: Reading, record: object) -> str:
    """What tells a record's prompt from others: what splits compare, and the prefill."""
    prompt = prompt_of(record, reading.kind)
    prefill = f"\n{prompt.prefill}" if prompt and prompt.prefill else ""
    return text_to_compare(record, reading.kind) + prefill

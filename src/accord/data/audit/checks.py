"""What is wrong with records that can be read: found over all records of a data set at once.

Each check takes a reading and gives a Flaw for each record that it concerns. Where two records are concerned, `what`
names the place of the other one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any

from accord.data.audit.passages import ordered_pairs, passages, responses_of
from accord.data.formats.reading import Flaw, Reading
from accord.data.splits import prompt_of
from accord.types import Prompt

# Tokens that steer the chat templates of common model families.
CONTROL = (
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|eom_id|>",
    ),
    *("<|start_header_id|>", "<|end_header_id|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<bos>", "<eos>"),
    *("<start_of_turn>", "<end_of_turn>"),
)
# A response that is nothing but this was a value of a program before it became text.
TRUTH = ("True", "False")
VALUES = ("None", "null", "NaN", "nan", "undefined", "[object Object]")

_ROLE_INSIDE = re.compile(r"\n\s*(?:Human|Assistant):|^(?:### (?:Human|Assistant|Instruction|Response):)", re.MULTILINE)
_ROLE_AT_END = re.compile(r"\n\s*(?:Human|Assistant)\s*:?\s*\Z")


def repeated(reading: Reading) -> Iterator[Flaw]:
    """Records with the prompt and the responses of an earlier one, in whatever order, and labelled no other way."""
    first: dict[Hashable, str] = {}
    contrary = {flaw.place for flaw in contradictory(reading)}
    for record, place in zip(reading.records, reading.places, strict=True):
        earlier = first.setdefault(_content(reading, record), place)
        if earlier != place and place not in contrary:
            yield Flaw(place, "", f"has the same texts as {earlier}", "repeated")


def contradictory(reading: Reading) -> Iterator[Flaw]:
    """Pairs that are ordered both ways by different records; responses that are called good and bad."""
    first: dict[Hashable, str] = {}
    for record, place in zip(reading.records, reading.places, strict=True):
        if reading.kind == "labelled":
            said = (_key(record.prompt), record.response.text)
            first.setdefault((*said, record.good), place)
            if other := first.get((*said, not record.good)):
                yield Flaw(place, "label", f"says the opposite of {other}, of the same response", "contradictory")
        elif reading.kind == "comparisons":
            comparison, judgements = record
            texts = [response.text for response in comparison.responses]
            for better, worse in ordered_pairs(comparison, judgements):
                said = (_key(comparison.prompt), texts[better])
                other = first.get((_key(comparison.prompt), texts[worse], texts[better]))
                first.setdefault((*said, texts[worse]), place)
                if other is not None and other != place:
                    yield Flaw(place, "", f"orders the same two responses against {other}", "contradictory")
                    break


def stray_markers(reading: Reading) -> Iterator[Flaw]:
    """Markers of somebody's turn inside a text, or at its end: a model would learn to write the other's part."""
    for place, passage in _passages(reading):
        if found := _ROLE_AT_END.search(passage.text):
            yield Flaw(place, passage.field, f"ends in a stray {found.group().strip()!r}", "stray-role-marker")
        elif found := _ROLE_INSIDE.search(passage.text):
            yield Flaw(place, passage.field, f"holds a stray {found.group().strip()!r}", "stray-role-marker")


def control_tokens(reading: Reading, special: Collection[str] = ()) -> Iterator[Flaw]:
    """Texts that hold a control token. special: those of the model's tokenizer, which reads them as such."""
    of_model = _any_of(special)
    of_others = _any_of([token for token in CONTROL if token not in special])
    for place, passage in _passages(reading):
        if of_model is not None and (found := of_model.search(passage.text)):
            what = f"holds {found.group()!r}, which the model's tokenizer reads as a control token"
        elif of_others is not None and (found := of_others.search(passage.text)):
            what = f"holds {found.group()!r}, a control token of common chat templates"
        else:
            continue
        yield Flaw(place, passage.field, what, "control-token")


def values_as_text(reading: Reading) -> Iterator[Flaw]:
    """Responses that look like a value of a program, such as `True`, that somebody turned into a text."""
    for record, place in zip(reading.records, reading.places, strict=True):
        for field, _, response in responses_of(reading.kind, record):
            if reading.kind == "demonstrations" and response.text.strip() in TRUTH:
                continue  # an answer to a question that wants it
            if response.text.strip() in (*TRUTH, *VALUES):
                what = f"is nothing but {response.text.strip()!r}: perhaps a value, and not what somebody wrote"
                yield Flaw(place, field, what, "value-as-text")


# Every check that looks at one data set and needs no model.
ALONE: tuple[Callable[[Reading], Iterator[Flaw]], ...] = (repeated, contradictory, stray_markers, values_as_text)


def _content(reading: Reading, record: Any) -> Hashable:
    """What makes two records the same, their labels aside."""
    prompt = prompt_of(record, reading.kind)
    texts = sorted(response.text for _, _, response in responses_of(reading.kind, record))
    return (_key(prompt), tuple(texts)) if prompt is not None else record.text


def _key(prompt: Prompt) -> Hashable:
    return prompt.messages, prompt.prefill


def _passages(reading: Reading) -> Iterator[tuple[str, Any]]:
    for record, place in zip(reading.records, reading.places, strict=True):
        for passage in passages(reading.kind, record):
            yield place, passage


def _any_of(tokens: Collection[str]) -> re.Pattern[str] | None:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

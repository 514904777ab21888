"""Parts of a data set that share no prompt.

Rows are dealt by prompt, never one by one: a row-wise split of several answers to one prompt trains on what it then
tests on. Prompts that are near-duplicates count as one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accord.data.duplicates import THRESHOLD, identity, near_duplicates
from accord.data.records import RecordKind
from accord.errors import UserError
from accord.types import Prompt

REST = "train"
QUOTE = 60  # characters of a prompt in a message


def split_records(
    records: Sequence[Any],
    kind: RecordKind,
    shares: Mapping[str, float],
    seed: int,
    *,
    threshold: float = THRESHOLD,
) -> dict[str, list[int]]:
    """Deals records to the parts of `shares`, in that order, and the rest to `train`: ascending indices of each part.

    Records whose prompts are equal or near-duplicates (see prompt_groups) go to one part. Groups are taken in the order
    of a hash of the seed and of their text; each goes to the first part that has room for it, so a part gets its share
    of the records, or a little less. The order of the records changes nothing. Raises UserError for shares that leave
    nothing to train on, and where the groups are too few or too large for the shares.

    shares: {"validation": 0.1, "test": 0.1}, of the number of records. threshold: 1 joins equal prompts only.
    """
    check_shares(shares)
    sizes = {part: max(1, round(share * len(records))) for part, share in shares.items()}
    room = max(len(records) - sum(sizes.values()), *sizes.values()) if sizes else len(records)
    groups = prompt_groups(records, kind, threshold=threshold, max_size=room)
    if len(groups) <= len(shares):
        raise UserError(
            f"{len(records)} records with {len(groups)} different prompts cannot be split into {len(shares) + 1} parts",
            remedy="Records with the same prompt, or nearly, stay together. Ask for fewer parts, or bring more data.",
        )
    parts: dict[str, list[int]] = {part: [] for part in (*shares, REST)}
    for group in sorted(groups, key=lambda group: _order(seed, records, kind, group)):
        part = next((part for part, size in sizes.items() if len(parts[part]) + len(group) <= size), REST)
        parts[part].extend(group)
    for part, size in sizes.items():
        if 2 * len(parts[part]) < size or not parts[REST]:
            raise _too_large(max(groups, key=len), records, kind, f"{part} gets {len(parts[part])} of {size} records")
    return {part: sorted(indices) for part, indices in parts.items()}


def prompt_groups(
    records: Sequence[Any], kind: RecordKind, *, threshold: float = THRESHOLD, max_size: int | None = None
) -> list[list[int]]:
    """The records that belong together, as ascending indices: every record is in one group.

    They have the same first user turn (see duplicates.identity), or turns that are near-duplicates; texts and ratings
    have no prompt, and are compared themselves. A group of more than `max_size` records is taken apart by what its
    prompts open the answer with, where they do: one instruction with many openings is many prompts.
    """
    texts = [text_to_compare(record, kind) for record in records]
    groups: list[list[int]] = []
    for group in _groups(texts, range(len(texts)), threshold):
        prefills = [prompt.prefill if (prompt := prompt_of(records[i], kind)) else "" for i in group]
        if max_size is not None and len(group) > max_size and any(prefills):
            groups.extend(_groups(prefills, group, threshold))
        else:
            groups.append(group)
    return groups


def prompt_of(record: Any, kind: RecordKind) -> Prompt | None:
    """The prompt of a record, None where its kind has none."""
    find = _PROMPT[kind]
    return find(record) if find else None


def text_to_compare(record: Any, kind: RecordKind) -> str:
    """What is compared of two records: the first user turn, or the text of a record without a prompt."""
    prompt = prompt_of(record, kind)
    if prompt is None:
        text: str = record.text
        return text
    turns = [message.content for message in prompt.messages if message.role == "user"]
    return turns[0] if turns else "\n".join(message.content for message in prompt.messages)


def _groups(texts: Sequence[str], indices: Sequence[int], threshold: float) -> list[list[int]]:
    joined = near_duplicates(texts, threshold)
    alone = set(range(len(texts))).difference(*joined)
    return sorted([indices[i] for i in sorted(group)] for group in (*joined, *({i} for i in alone)))


def _order(seed: int, records: Sequence[Any], kind: RecordKind, group: Sequence[int]) -> str:
    """The hash of one text of the group, the first in alphabetical order: a larger group does not come earlier."""
    texts = defaultdict(list)
    for index in group:
        prompt = prompt_of(records[index], kind)
        texts[identity(text_to_compare(records[index], kind))].append(identity(prompt.prefill) if prompt else "")
    text = min(texts)
    return hashlib.sha256(f"{seed}\n{text}\n{min(texts[text])}".encode("utf-8", "replace")).hexdigest()


def check_shares(shares: Mapping[str, float]) -> None:
    """Raises UserError for shares that leave nothing to train on."""
    if REST in shares:
        raise UserError(f"{REST} is what the splits leave, so it has no share", remedy="Name the other parts only.")
    for part, share in shares.items():
        if not 0 < share < 1:
            raise UserError(f"the share of {part} is {share:g}", remedy="A share lies between 0 and 1, such as 0.1.")
    if sum(shares.values()) > 1 - 1e-9:
        raise UserError(
            f"the shares sum to {sum(shares.values()):g}, which leaves nothing for {REST}",
            remedy="Let them sum to less than 1.",
        )


def _too_large(group: Sequence[int], records: Sequence[Any], kind: RecordKind, what: str) -> UserError:
    text = " ".join(text_to_compare(records[group[0]], kind).split())
    quote = text if len(text) <= QUOTE else text[:QUOTE] + "..."
    return UserError(
        f"{what}: {len(group)} of {len(records)} have the same prompt, or nearly, and stay together: {quote!r}",
        remedy="Ask for fewer or other shares, or bring the parts as files of their own.",
    )


_PROMPT: Mapping[RecordKind, Callable[[Any], Prompt] | None] = {
    "demonstrations": lambda record: record.prompt,
    "comparisons": lambda record: record[0].prompt,
    "labelled": lambda record: record.prompt,
    "prompts": lambda record: record,
    "texts": None,
    "ratings": None,
}

"""Parts of data sets put together by ratio, with prompts that are held out in every mixture alike.

Llama 2 (arXiv:2307.09288, section 3.2.2) trains its helpfulness model on all helpfulness comparisons and as many of
the others, its safety model on nine parts of safety and one of helpfulness, and holds out a share of every round.
There one mixture must not train on what another, or that of a round before or after, is measured on. So whether a
prompt is held out depends on its own text alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np

from accord.data.derive import derive_ranking, own_names, without_unsafe_chosen
from accord.data.duplicates import identity
from accord.data.records import JudgedComparison, RecordKind
from accord.data.splits import prompt_groups, prompt_of, text_to_compare

HELD_OUT = "validation"  # the part


@dataclass(frozen=True, slots=True)
class Dealt:
    """Indices of records, ascending. near: those that are left out of what is trained on, because a prompt that is held
    out is nearly the same."""

    train: list[int]
    held_out: list[int]
    near: list[int]


def is_held_out(record: Any, kind: RecordKind, share: float) -> bool:
    """Whether the record's prompt is one of the `share` of all prompts that are held out.

    That follows from a hash of its first user turn (its words, in any case and punctuation) and of the opening that it
    gives, whatever the seed and whatever stands beside it.
    """
    prompt = prompt_of(record, kind)
    assert prompt is not None, f"{kind} have no prompts"
    text = f"{identity(text_to_compare(record, kind))}\n{identity(prompt.prefill)}"
    return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:8], "big") < share * 2**64


def deal(records: Sequence[Any], kind: RecordKind, share: float) -> Dealt:
    """Records to train on, and those of the prompts that are held out: no prompt is on both sides, nor nearly (see
    `accord.data.splits.prompt_groups`; prompts that open the answer are compared by that, too)."""
    if share == 0:
        return Dealt(list(range(len(records))), [], [])
    held = [is_held_out(record, kind, share) for record in records]
    groups = prompt_groups(records, kind, max_size=1)
    beside = {i for group in groups if any(held[i] for i in group) for i in group}
    return Dealt(
        [i for i in range(len(records)) if i not in beside],
        [i for i in range(len(records)) if held[i]],
        sorted(i for i in beside if not held[i]),
    )


def num_wanted(num_main: int, num_others: int, *, share: float | None, fraction: float | None) -> int:
    """How many of the others go with `num_main` records: so many that they are `share` of both together, which may be
    more than there are; or a fraction of them. All, where neither is given.

    >>> num_wanted(90, 50, share=0.1, fraction=None), num_wanted(90, 50, share=None, fraction=0.5)
    (10, 25)
    """
    if share is not None:
        return round(share / (1 - share) * num_main)
    return num_others if fraction is None else round(fraction * num_others)


def largest_share(num_main: int, num_others: int) -> float:
    """The share that all of the others would have, rounded down to a thousandth."""
    return int(1000 * num_others / max(num_main + num_others, 1)) / 1000


def drawn(num: int, wanted: int, seed: int) -> list[int]:
    """`wanted` of `num` indices, uniformly and in a drawn order. Of one seed fewer are the first of more, so that
    mixtures that differ in their share alone are nested."""
    order = np.random.Generator(np.random.Philox(key=seed)).permutation(num)
    return [int(i) for i in order[:wanted]]


def ordered_alone(
    comparisons: Sequence[JudgedComparison], *, drop_unsafe_chosen: bool
) -> tuple[list[JudgedComparison], dict[str, int]]:
    """The comparisons with an order or a tie, and how many are left out: not judged; or (Llama 2, section 3.2.1) left
    without a pair, as in all of theirs an unsafe response was preferred to a safe one. One with another pair stays."""
    kept, counts = [], {"num_unjudged": 0, "num_unsafe_chosen": 0}
    for comparison, judgements in comparisons:
        ranking = derive_ranking(comparison, judgements, tie_below=0.0)
        if not ranking.pairs and not ranking.ties:
            counts["num_unjudged"] += 1
        elif drop_unsafe_chosen and ranking.pairs and not without_unsafe_chosen(ranking).pairs:
            counts["num_unsafe_chosen"] += 1
        else:
            kept.append((comparison, judgements))
    return kept, counts


def with_own_ids(records: Sequence[Any], kind: RecordKind) -> list[Any]:
    """The records with ids of their own, as a file wants them."""
    names = own_names([_id_of(record, kind) for record in records])
    return [_renamed(record, kind, name) for record, name in zip(records, names, strict=True)]


def _id_of(record: Any, kind: RecordKind) -> str:
    return str(record[0].id if kind == "comparisons" else record.prompt.id if kind == "demonstrations" else record.id)


def _renamed(record: Any, kind: RecordKind, name: str) -> Any:
    if _id_of(record, kind) == name:
        return record
    if kind == "comparisons":
        comparison, judgements = record
        return replace(comparison, id=name), tuple(replace(one, comparison_id=name) for one in judgements)
    if kind == "demonstrations":
        return replace(record, prompt=replace(record.prompt, id=name))
    return replace(record, id=name)

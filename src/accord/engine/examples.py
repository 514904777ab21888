"""From records to the trees of supervised fine-tuning: what is left out for its length or its form is counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accord.errors import UserError
from accord.text.template import Template
from accord.text.tree import Tree
from accord.text.turns import longest_turn
from accord.types import Demonstration, PlainText

NUM_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What is left out. None: no limit.

    max_response_tokens: of a demonstration's longest imitated turn. max_tokens: of a whole demonstration.
    max_unusable: the share of the demonstrations that may have a form which cannot be imitated faithfully; with more,
    all are refused.
    """

    max_response_tokens: int | None = None
    max_tokens: int | None = None
    max_unusable: float = 0.01


def trees_of(
    template: Template, records: Sequence[Demonstration | PlainText], limits: Limits, *, window: int, where: str
) -> tuple[list[Tree], dict[str, Any]]:
    """Demonstrations and texts as trees, in their order, and the counts for a step's summary.

    window: a text of more tokens is cut into parts of so many. Raises UserError when nothing is left, or too many
    demonstrations cannot be imitated: the first 20, each with its reason.
    """
    trees: list[Tree] = []
    errors: list[UserError] = []
    num_demonstrations = num_windows = num_long_responses = num_long = 0
    for record in records:
        if isinstance(record, PlainText):
            windows = template.documents(record, window)
            num_windows += len(windows)
            trees += windows
            continue
        try:
            tree = template.demonstration(record)
        except UserError as error:
            errors.append(error)
            continue
        if limits.max_response_tokens is not None and longest_turn(tree.branches[0]) > limits.max_response_tokens:
            num_long_responses += 1
        elif limits.max_tokens is not None and tree.num_tokens > limits.max_tokens:
            num_long += 1
        else:
            num_demonstrations += 1
            trees.append(tree)
    num_texts = sum(isinstance(record, PlainText) for record in records)
    _refuse_too_many(errors, len(records) - num_texts, limits.max_unusable, where)
    if not trees:
        raise UserError(
            f"of {len(records)} examples none is left: {num_long_responses} have a response of more than "
            f"{limits.max_response_tokens} tokens, {num_long} more than {limits.max_tokens} tokens in all",
            where=where,
            remedy="Raise max_response_tokens or max_tokens_per_example, or look at the data.",
        )
    counts: dict[str, Any] = {
        "num_demonstrations": num_demonstrations,
        "num_too_long": num_long_responses + num_long,
        "num_unusable": len(errors),
    }
    if errors:
        counts["unusable"] = [error.what for error in errors[:NUM_SHOWN]]
    if num_texts:
        counts |= {"num_texts": num_texts, "num_windows": num_windows}
    return trees, counts


def _refuse_too_many(errors: Sequence[UserError], num_demonstrations: int, max_share: float, where: str) -> None:
    if len(errors) <= max_share * num_demonstrations:
        return
    shown = [error.what for error in errors[:NUM_SHOWN]]
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more")
    raise UserError(
        f"{len(errors)} of {num_demonstrations} demonstrations cannot be imitated:\n  " + "\n  ".join(shown),
        where=where,
        remedy=f"{errors[0].remedy} Or leave them out: raise max_unusable, the share that may be (now {max_share:g}).",
    )

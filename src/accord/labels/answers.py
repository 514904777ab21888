"""What an annotator answers to a comparison, as it was clicked, and the judgement that it is.

An answer speaks of places on the screen, first to last; `order` says which response was at each. It is kept as it is,
and turned into a judgement of the item's responses in one place, here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, StrictBool, StrictInt

from accord.labels.refusals import Unfit
from accord.strict import StrictModel
from accord.types import Judgement

T = TypeVar("T")
Strength = Literal["negligibly", "slightly", "better", "significantly"]

# By how much the grades of two responses differ: the levels of Llama 2 (arXiv:2307.09288, section 3.2.1) in the order
# of the reward model's `margin_thresholds`, whose defaults lie between these numbers.
GRADES: Final[dict[Strength, float]] = {"negligibly": 1.0, "slightly": 2.0, "better": 3.0, "significantly": 4.0}

MOST_COMMENT = 10_000  # characters


def storable(text: str) -> str:
    """The text, or ValueError for one that no database takes: with halves of characters, or a NUL."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds a character that cannot be stored")
    return text


class Answer(StrictModel):
    """ranks: of the response at each place, 1 the best; equal ranks are ties, null is not ranked. strength: of two
    responses, by how much the better one is. safe: whether each is safe to give, null is no answer; [] where nobody
    was asked. flags: what the campaign lets one say of an item."""

    ranks: list[StrictInt | None] = Field(min_length=2, max_length=26)
    strength: Strength | None = None
    safe: list[StrictBool | None] = Field(default=[], max_length=26)
    flags: list[str] = Field(default=[], max_length=20)
    comment: Annotated[str, AfterValidator(storable)] = Field("", max_length=MOST_COMMENT)


def check(answer: Answer, num_responses: int, *, strengths: bool, safety: bool, flags: Sequence[str]) -> None:
    """Raises Unfit. strengths, safety, flags: what the campaign asks for."""
    ranked = [rank for rank in answer.ranks if rank is not None]
    if len(answer.ranks) != num_responses:
        raise Unfit(f"{len(answer.ranks)} ranks were sent for {num_responses} responses")
    if any(not 1 <= rank <= num_responses for rank in ranked):
        raise Unfit(f"a rank is a number from 1 to {num_responses}")
    if len(ranked) < 2:
        raise Unfit("at least two responses must be compared: rank them, or skip this item and say why")
    is_preference = num_responses == 2 and ranked[0] != ranked[1]
    if strengths and is_preference and answer.strength is None:
        raise Unfit("say by how much the better response is better")
    if answer.strength is not None and not (strengths and is_preference):
        raise Unfit("a strength is for one of two responses that is better, where the campaign asks for it")
    if len(answer.safe) != (num_responses if safety else 0):
        raise Unfit(f"{len(answer.safe)} labels of safety were sent, and {num_responses if safety else 'none'} wanted")
    if safety and None in answer.safe:
        raise Unfit("say of each response whether it is safe")
    unknown = [flag for flag in answer.flags if flag not in flags]
    if unknown or len(set(answer.flags)) != len(answer.flags):
        raise Unfit(f"not among the campaign's flags: {unknown[0]}" if unknown else "a flag was sent twice")


def judgement(answer: Answer, order: Sequence[int], comparison_id: str, annotator: str) -> Judgement:
    """What the answer says of the item's responses. order: the index of the response at each place.

    Grades are higher for the better response: of two they differ by the strength's number, of more by the number of
    ranks between them. Where the strength was not asked, two differ by 1.

    >>> answer = Answer(ranks=[2, 1], strength="better")
    >>> judgement(answer, [1, 0], "c", "a").grades  # the better one, at the second place, is response 0
    (3.0, 0.0)
    >>> judgement(Answer(ranks=[1, 3, None, 1]), [2, 0, 1, 3], "c", "a").grades
    (0.0, None, 1.0, 1.0)
    """
    levels = sorted({rank for rank in answer.ranks if rank is not None}, reverse=True)
    step = GRADES[answer.strength] if answer.strength else 1.0
    shown = [None if rank is None else step * levels.index(rank) for rank in answer.ranks]
    return Judgement(comparison_id, annotator, _by_response(shown, order), _by_response(answer.safe, order))


def _by_response(shown: Sequence[T], order: Sequence[int]) -> tuple[T, ...]:
    """Places to responses. Empty stays empty."""
    if not shown:
        return ()
    return tuple(shown[order.index(response)] for response in range(len(order)))

"""How often a reward model prefers what people preferred, by who they are and by when they said it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Final

from sqlalchemy import Connection, select

from accord.algorithms.statistics import ordered_right, wilson
from accord.labels.campaigns import comparison_of
from accord.labels.declared import groups_among
from accord.labels.quality import Share
from accord.labels.schema import items
from accord.labels.snapshot import Said, said
from accord.types import Comparison

KINDS: Final = ("all", "month", "strength", "group", "language")


def compared(connection: Connection, campaign_id: int) -> dict[int, Comparison]:
    """The items that somebody answered, by their numbers, to be scored."""
    answered = {one.item for one in said(connection, campaign_id)}
    rows = connection.execute(select(items).where(items.c.campaign_id == campaign_id, items.c.content.is_not(None)))
    return {row.id: comparison_of(row.content) for row in rows if row.id in answered}


def accuracy(
    connection: Connection, campaign_id: int, scores: Mapping[int, Sequence[float]]
) -> dict[str, dict[str, Share]]:
    """Over every two responses of an item that somebody put in an order, the share that the scores put in the same one;
    two equal scores are half right.

    scores: of each item's responses. Returns {"all", "month", "strength", "group", "language"} -> what it is of ->
    share. Months are UTC's; groups are those that three people or more declared who put something in an order.
    Intervals take the pairs to be independent, which those of one item are not quite.
    """
    answered = [one for one in said(connection, campaign_id) if one.gold is None and one.item in scores]
    ordered = [(one, right) for one in answered if (right := _right(one, scores[one.item]))]
    groups = groups_among(connection, {one.user for one, _ in ordered})
    found: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in KINDS}
    for one, right in ordered:
        found["all"]["all"] += right
        found["month"][datetime.fromtimestamp(one.at, UTC).strftime("%Y-%m")] += right
        if one.answer.strength:
            found["strength"][one.answer.strength] += right
        for (kind, name), people in groups.items():
            if one.user in people:
                found[kind][name] += right
    return {
        kind: {name: Share(len(right), wilson(sum(right), len(right))) for name, right in sorted(of.items()) if right}
        for kind, of in found.items()
    }


def _right(one: Said, scores: Sequence[float]) -> list[float]:
    grades = one.judgement.grades
    right = []
    for (a, of_a), (b, of_b) in combinations(zip(grades, scores, strict=True), 2):
        if a is not None and b is not None and a != b:
            right.append(float(ordered_right([of_a - of_b], [a - b])[0]))
    return right

"""What people said until now: the answer of each that counts, and all of it as comparisons with their judgements."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from accord.data.records import JudgedComparison
from accord.labels import answers
from accord.labels.answers import Answer
from accord.labels.campaigns import comparison_of
from accord.labels.schema import assignments, items, submissions, users
from accord.types import Judgement


@dataclass(frozen=True, slots=True)
class Said:
    """The answer that counts of one person to one item. key: of the item; gold: the index of its response that is known
    to be best. order: as in `accord.labels.answers.judgement`."""

    item: int
    key: str
    gold: int | None
    user: int
    pseudonym: str
    order: tuple[int, ...]
    answer: Answer
    active_seconds: float
    at: float

    @property
    def judgement(self) -> Judgement:
        return answers.judgement(self.answer, self.order, self.key, self.pseudonym)


def said(connection: Connection, campaign_id: int) -> list[Said]:
    """The last thing that each person sent of each item, where that is an answer; in the order of items and people."""
    latest = select(func.max(submissions.c.id)).group_by(submissions.c.assignment_id)
    columns = (items.c.id.label("item"), items.c.key, items.c.gold, users.c.id.label("user"), users.c.pseudonym)
    found = (
        select(*columns, assignments.c.order, submissions.c.content, submissions.c.active_seconds, submissions.c.at)
        .join_from(submissions, assignments, assignments.c.id == submissions.c.assignment_id)
        .join(items, items.c.id == assignments.c.item_id)
        .join(users, users.c.id == assignments.c.user_id)
        .where(items.c.campaign_id == campaign_id, submissions.c.id.in_(latest))
        .where(submissions.c.kind == "answer", submissions.c.content.is_not(None))
        .order_by(items.c.position, users.c.id)
    )
    return [
        Said(
            row.item,
            row.key,
            row.gold,
            row.user,
            row.pseudonym,
            tuple(row.order),
            Answer.model_validate(row.content),
            row.active_seconds,
            row.at,
        )
        for row in connection.execute(found)
    ]


def judged(connection: Connection, campaign_id: int) -> list[JudgedComparison]:
    """Of the items whose best response was not known beforehand, in the order in which they were added. An item that
    nobody answered has no judgements; one that was erased is left out."""
    of_item: dict[int, list[Judgement]] = defaultdict(list)
    for one in said(connection, campaign_id):
        of_item[one.item].append(one.judgement)
    asked = select(items).where(
        items.c.campaign_id == campaign_id, items.c.gold.is_(None), items.c.content.is_not(None)
    )
    rows = connection.execute(asked.order_by(items.c.position)).all()
    return [(comparison_of(row.content), tuple(of_item[row.id])) for row in rows]

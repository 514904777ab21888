"""What people said until now, as records: comparisons with their judgements, signed with pseudonyms."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, func, select

from accord.data.records import JudgedComparison
from accord.labels import answers
from accord.labels.campaigns import comparison_of
from accord.labels.schema import assignments, items, submissions, users
from accord.types import Judgement


def judged(connection: Connection, campaign_id: int) -> list[JudgedComparison]:
    """Of the items whose best response was not known beforehand, in the order in which they were added. An item that
    nobody answered has no judgements; one that was erased is left out. Judgements are in the order of their senders."""
    latest = (
        select(submissions.c.assignment_id, func.max(submissions.c.id).label("id"))
        .group_by(submissions.c.assignment_id)
        .subquery()
    )
    said = (
        select(assignments.c.item_id, assignments.c.order, users.c.pseudonym, submissions.c.content)
        .join(latest, latest.c.assignment_id == assignments.c.id)
        .join(submissions, submissions.c.id == latest.c.id)
        .join(items, items.c.id == assignments.c.item_id)
        .join(users, users.c.id == assignments.c.user_id)
        .where(items.c.campaign_id == campaign_id, submissions.c.kind == "answer", submissions.c.content.is_not(None))
        .order_by(users.c.id)
    )
    of_item = defaultdict(list)
    for row in connection.execute(said):
        of_item[row.item_id].append(row)
    asked = select(items).where(items.c.campaign_id == campaign_id, items.c.gold.is_(None), items.c.content.is_not(None))
    found = []
    for item in connection.execute(asked.order_by(items.c.position)):
        judgements: list[Judgement] = []
        for row in of_item[item.id]:
            answer = answers.Answer.model_validate(row.content)
            judgements.append(answers.judgement(answer, row.order, item.key, row.pseudonym))
        found.append((comparison_of(item.content), tuple(judgements)))
    return found

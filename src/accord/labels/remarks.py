"""What people said beside their answers: flags, comments, and why they skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from accord.labels.schema import assignments, items, submissions, users

Kind = Literal["flag", "comment", "skip"]
MOST = 200


@dataclass(frozen=True, slots=True)
class Remark:
    """item: its id. at: seconds since 1970."""

    kind: Kind
    text: str
    item: str
    pseudonym: str
    at: float


def remarks(connection: Connection, campaign_id: int) -> list[Remark]:
    """The newest `MOST` of those that were not taken back, the newest first. What was erased is not among them."""
    latest = select(func.max(submissions.c.id)).group_by(submissions.c.assignment_id)
    rows = connection.execute(
        select(submissions.c.kind, submissions.c.content, submissions.c.at, items.c.key, users.c.pseudonym)
        .join_from(submissions, assignments, assignments.c.id == submissions.c.assignment_id)
        .join(items, items.c.id == assignments.c.item_id)
        .join(users, users.c.id == assignments.c.user_id)
        .where(items.c.campaign_id == campaign_id, submissions.c.id.in_(latest))
        .where(submissions.c.kind.in_(("answer", "skip")), submissions.c.content.is_not(None))
        .order_by(submissions.c.id.desc())
    )
    found: list[Remark] = []
    for row in rows:
        said_of = {"item": row.key, "pseudonym": row.pseudonym, "at": row.at}
        if row.kind == "skip":
            found.append(Remark("skip", row.content["reason"], **said_of))
            continue
        found += [Remark("flag", flag, **said_of) for flag in row.content.get("flags", [])]
        if comment := row.content.get("comment", ""):
            found.append(Remark("comment", comment, **said_of))
    return found[:MOST]

"""What people said beside their answers: flags, comments, and why they skipped; and who wins where policies answer."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from accord.algorithms.statistics import wilson
from accord.labels.quality import Share
from accord.labels.schema import assignments, items, submissions, users
from accord.labels.snapshot import said

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


def by_policy(connection: Connection, campaign_id: int) -> list[tuple[str, Share]]:
    """Where policies answered what people wrote: how often each one's response was preferred to another policy's, a tie
    one half; the best first. Temperatures are left out of their names. Intervals take answers to be independent."""
    contents = select(items.c.id, items.c.content).where(items.c.campaign_id == campaign_id)
    wrote = {
        row.id: [name.rpartition(" at ")[0] or name for name in row.content["policies"]]
        for row in connection.execute(contents.where(items.c.content.is_not(None)))
        if row.content.get("policies")
    }
    wins: dict[str, list[float]] = defaultdict(list)
    for one in said(connection, campaign_id):
        names, grades = wrote.get(one.item, []), one.judgement.grades
        if len(names) != 2 or names[0] == names[1] or None in grades:
            continue
        first, second = grades
        assert first is not None
        assert second is not None
        won = (first > second) + 0.5 * (first == second)
        wins[names[0]].append(won)
        wins[names[1]].append(1 - won)
    shares = [(name, Share(len(of), wilson(sum(of), len(of)))) for name, of in wins.items()]
    return sorted(shares, key=lambda one: -one[1].share.value)

"""How good the answers of a campaign are: how far people agree, and what can be told of each of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, permutations
from statistics import median

import numpy as np
from sqlalchemy import Connection, exists, func, select

from accord.algorithms.agreement import Floats, gwet_ac, krippendorff_alpha, pairwise_agreement
from accord.algorithms.statistics import Interval, wilson
from accord.labels.answers import GRADES, Strength
from accord.labels.schema import assignments, items, submissions, users
from accord.labels.snapshot import Said, said


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `num`, with its interval."""

    num: int
    share: Interval


@dataclass(frozen=True, slots=True)
class OfPerson:
    """seconds: the median that an answer took. first: how often, of two responses of which one was called better, that
    was the one that stood first; far from a half it is a habit. gold: how often the known best one was called best.
    ties: how often two responses were called equal."""

    user: int
    name: str
    pseudonym: str
    num_answers: int
    num_skips: int
    seconds: float
    first: Share
    gold: Share
    ties: Share


@dataclass(frozen=True, slots=True)
class Agreement:
    """On which of two responses is better, or whether they are equal: of every two that an item has. pairwise: of every
    two people [n, n], in the order of `people`; both: on how many. num_units: of two responses, with two answers."""

    people: tuple[str, ...]
    num_units: int
    alpha: float
    ac1: float
    pairwise: Floats
    both: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Queue:
    """Items of a campaign: that nobody has begun, that somebody has in hands or has answered but others are asked, too,
    and that have all their answers. num_skipped: times that an item was skipped. late: answers after their lease."""

    num_new: int
    num_begun: int
    num_done: int
    num_skipped: int
    num_late: int


def queue_state(connection: Connection, campaign_id: int, overlap: int) -> Queue:
    ordinary = (items.c.campaign_id == campaign_id) & items.c.gold.is_(None) & items.c.content.is_not(None)
    counts = select(items.c.num_taken, items.c.num_answered, func.count()).where(ordinary)
    new = begun = done = 0
    for taken, answered, num in connection.execute(counts.group_by(items.c.num_taken, items.c.num_answered)):
        new += num * (not taken)
        done += num * (answered >= overlap)
        begun += num * (taken > 0 and answered < overlap)
    of_campaign = select(func.count()).select_from(assignments.join(items)).where(items.c.campaign_id == campaign_id)
    by_somebody = exists().where(users.c.id == assignments.c.user_id, users.c.name.is_not(None))  # who is not erased
    of_campaign = of_campaign.where(assignments.c.state == "skipped", items.c.content.is_not(None), by_somebody)
    skipped = connection.execute(of_campaign).scalar_one()
    sent = select(func.count()).select_from(submissions.join(assignments).join(items))
    late = sent.where(items.c.campaign_id == campaign_id, submissions.c.late, submissions.c.kind == "answer")
    return Queue(new, begun, done, skipped, connection.execute(late).scalar_one())


def by_day(connection: Connection, campaign_id: int) -> list[tuple[str, int]]:
    """The answers that count, by the day (UTC) on which they were sent, the first first; days without any are left
    out."""
    days = Counter(datetime.fromtimestamp(one.at, UTC).date().isoformat() for one in said(connection, campaign_id))
    return sorted(days.items())


def by_strength(connection: Connection, campaign_id: int) -> dict[Strength, Share]:
    """How often another person prefers the same one of two responses, by how sure somebody was who prefers one: what
    people themselves reach, and so the ceiling for a reward model (Llama 2, arXiv:2307.09288, table 8). Ties of the
    other do not agree. Intervals take the pairs of answers to be independent, which those to one item are not quite."""
    of_item: dict[int, list[Said]] = defaultdict(list)
    for one in said(connection, campaign_id):
        if one.gold is None and len(one.order) == 2:
            of_item[one.item].append(one)
    found: dict[Strength, list[bool]] = {strength: [] for strength in GRADES}
    for answered in of_item.values():
        for one, other in permutations(answered, 2):
            if one.answer.strength is not None:
                ours, theirs = one.judgement.grades, other.judgement.grades
                found[one.answer.strength].append(_sign(ours) == _sign(theirs))
    return {strength: _share(agree) for strength, agree in found.items() if agree}


def _sign(grades: Sequence[float | None]) -> int:
    """Of two responses, which is better: 1 the first, -1 the second, 0 neither."""
    first, second = grades
    assert first is not None
    assert second is not None
    return (first > second) - (first < second)


def of_people(connection: Connection, campaign_id: int) -> list[OfPerson]:
    """Those who answered or skipped something, in the order in which they came."""
    by_user: dict[int, list[Said]] = defaultdict(list)
    for one in said(connection, campaign_id):
        by_user[one.user].append(one)
    skipped = (
        select(assignments.c.user_id, func.count())
        .join(items, items.c.id == assignments.c.item_id)
        .join(users, users.c.id == assignments.c.user_id)
        .where(items.c.campaign_id == campaign_id, assignments.c.state == "skipped")
        .where(items.c.content.is_not(None), users.c.name.is_not(None))  # what was erased is left in that state
        .group_by(assignments.c.user_id)
    )
    num_skips = {row[0]: row[1] for row in connection.execute(skipped)}
    rows = connection.execute(select(users).order_by(users.c.id)).all()
    return [
        _of_person(row.id, row.name or "(erased)", row.pseudonym, by_user[row.id], num_skips.get(row.id, 0))
        for row in rows
        if by_user[row.id] or num_skips.get(row.id)
    ]


def rated(answered: Sequence[Said]) -> tuple[list[str], Floats]:
    """Pseudonyms, and [units, people] what each says of two responses of an item: 1 the first is better, -1 the second,
    0 neither, NaN nothing."""
    people = sorted({one.pseudonym for one in answered})
    units: dict[tuple[int, int, int], dict[str, float]] = defaultdict(dict)
    for one in answered:
        grades = one.judgement.grades
        for first, second in combinations(range(len(grades)), 2):
            a, b = grades[first], grades[second]
            if a is not None and b is not None:
                units[one.item, first, second][one.pseudonym] = float(np.sign(a - b))
    ratings = np.array([[unit.get(person, np.nan) for person in people] for unit in units.values()])
    return people, ratings.reshape(len(units), len(people))


def agreement(connection: Connection, campaign_id: int) -> Agreement:
    people, ratings = rated([one for one in said(connection, campaign_id) if one.gold is None])
    pairwise, both = pairwise_agreement(ratings)
    num = int(((~np.isnan(ratings)).sum(axis=1) >= 2).sum())
    if not num:
        return Agreement(tuple(people), 0, float("nan"), float("nan"), pairwise, both.tolist())
    alpha, ac1 = krippendorff_alpha(ratings), gwet_ac(ratings + 1, num_categories=3)
    return Agreement(tuple(people), num, alpha, ac1, pairwise, both.tolist())


def _of_person(user: int, name: str, pseudonym: str, answered: Sequence[Said], num_skips: int) -> OfPerson:
    ordinary = [one for one in answered if one.gold is None]
    pairs = [one.answer.ranks for one in ordinary if len(one.order) == 2]
    clear = [ranks for ranks in pairs if ranks[0] != ranks[1]]
    golden = [one for one in answered if one.gold is not None]
    return OfPerson(
        user,
        name,
        pseudonym,
        len(ordinary),
        num_skips,
        median(one.active_seconds for one in answered) if answered else float("nan"),
        _share([ranks == [1, 2] for ranks in clear]),
        _share([_is_right(one) for one in golden]),
        _share([ranks[0] == ranks[1] for ranks in pairs]),
    )


def _is_right(one: Said) -> bool:
    """Whether the known best response, and no other, has the highest grade."""
    grades = one.judgement.grades
    best = max(grade for grade in grades if grade is not None)
    return one.gold is not None and [i for i, grade in enumerate(grades) if grade == best] == [one.gold]


def _share(found: Sequence[bool]) -> Share:
    return Share(len(found), wilson(sum(found), len(found)))

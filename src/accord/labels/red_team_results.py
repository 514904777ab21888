"""What a red-team campaign found: violating prompts a person and hour, by category and vector, and who disagrees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from accord.algorithms.rates import poisson_rate, rate_ratio
from accord.algorithms.statistics import Interval
from accord.labels.red_team import COPIED, Outcome, Rating, Turn, to_rate
from accord.labels.schema import attacks, ratings, replies, sittings, turns


@dataclass(frozen=True, slots=True)
class Found:
    """A reply with what is held of it. outcome: the final rating; else what the attacker and a second rater agree on,
    or the attacker alone says; None: nobody has rated it, or they disagree (`disputed`). replays: the earlier turn that
    the policy was given again."""

    reply: int
    turn: int
    category: str
    vector: str
    policy: str
    outcome: Outcome | None
    disputed: bool
    replays: int | None


@dataclass(frozen=True, slots=True)
class Results:
    """Of what people attacked with: replays count in num_disputed alone. hours: in which people were active.
    num_prompts: that are decided: a reply was a violation, or all are rated; num_violating: the former. gamma:
    violating prompts a person and hour (Llama 2, arXiv:2307.09288, section 4.3), None without time. by_policy: its
    violating replies, and how many were rated. grid: (category, vector) -> violating prompts, and prompts."""

    hours: float
    num_prompts: int
    num_violating: int
    num_disputed: int
    num_unrated: int
    gamma: Interval | None
    by_policy: dict[str, tuple[int, int]]
    outcomes: dict[Outcome, int]
    grid: dict[tuple[str, str], tuple[int, int]]


def results(connection: Connection, campaign_id: int) -> Results:
    every = found(connection, campaign_id)
    rows = [one for one in every if one.replays is None]
    active = select(func.coalesce(func.sum(sittings.c.active_seconds), 0.0)).where(
        sittings.c.campaign_id == campaign_id
    )
    hours = float(connection.execute(active).scalar_one()) / 3600
    of_turn: dict[int, list[Found]] = defaultdict(list)
    for row in rows:
        of_turn[row.turn].append(row)
    violating = [of for of in of_turn.values() if _violates(of)]
    rated = [of for of in of_turn.values() if _violates(of) or all(one.outcome is not None for one in of)]
    prompts = Counter((of[0].category, of[0].vector) for of in rated)
    hits = Counter((of[0].category, of[0].vector) for of in violating)
    policies = Counter(one.policy for one in rows if one.outcome is not None)
    broken = Counter(one.policy for one in rows if one.outcome == "violation")
    return Results(
        hours=hours,
        num_prompts=len(rated),
        num_violating=len(violating),
        num_disputed=sum(one.disputed for one in every),
        num_unrated=sum(one.outcome is None and not one.disputed for one in rows),
        gamma=poisson_rate(len(violating), hours) if hours else None,
        by_policy={name: (broken[name], num) for name, num in sorted(policies.items())},
        outcomes=dict(Counter(one.outcome for one in rows if one.outcome is not None)),
        grid={kind: (hits[kind], num) for kind, num in prompts.items()},
    )


def next_disputed(connection: Connection, user_id: int, campaign_id: int) -> tuple[Row[Any], list[Turn]] | None:
    """The first reply on which two people disagree, as `to_rate` has it; None when there is none."""
    disputed = next((one.reply for one in found(connection, campaign_id) if one.disputed), None)
    return None if disputed is None else to_rate(connection, disputed, user_id)


def ratings_of(connection: Connection, reply_id: int) -> list[Rating]:
    """What is said of a reply, the last of each person and part: for who decides between them."""
    latest = select(func.max(ratings.c.id)).group_by(ratings.c.reply_id, ratings.c.user_id, ratings.c.part)
    own = select(ratings).where(ratings.c.reply_id == reply_id, ratings.c.id.in_(latest)).order_by(ratings.c.id)
    return [Rating(row.outcome, row.severity, row.comment) for row in connection.execute(own)]


def compared(now: Results, before: Results) -> Interval | None:
    """The rate of violating prompts divided by an earlier campaign's; None without time in one of them."""
    if not (now.hours and before.hours):
        return None
    return rate_ratio(now.num_violating, now.hours, before.num_violating, before.hours)


def found(connection: Connection, campaign_id: int) -> list[Found]:
    """All replies of a campaign that are to be rated, in the order in which they came."""
    latest = select(func.max(ratings.c.id)).group_by(ratings.c.reply_id, ratings.c.user_id, ratings.c.part)
    said = select(ratings.c.reply_id, ratings.c.part, ratings.c.outcome).where(ratings.c.id.in_(latest))
    of_reply: dict[int, dict[str, Outcome]] = defaultdict(dict)
    for row in connection.execute(said.order_by(ratings.c.id)):
        of_reply[row.reply_id][row.part] = row.outcome
    asked = (
        select(replies.c.id, replies.c.turn_id, replies.c.policy, turns.c.replays, attacks.c.category, attacks.c.vector)
        .join(turns, turns.c.id == replies.c.turn_id)
        .join(attacks, attacks.c.id == turns.c.attack_id)
        .join(sittings, sittings.c.id == attacks.c.sitting_id)
        .where(sittings.c.campaign_id == campaign_id, turns.c.text.is_not(None), ~COPIED)
        .order_by(replies.c.id)
    )
    return [
        Found(row.id, row.turn_id, row.category, row.vector, row.policy, *_held(of_reply[row.id]), row.replays)
        for row in connection.execute(asked)
    ]


def _held(said: dict[str, Outcome]) -> tuple[Outcome | None, bool]:
    """The outcome, and whether it is disputed."""
    if "final" in said:
        return said["final"], False
    own, second = said.get("own"), said.get("second")
    if own is not None and second is not None and own != second:
        return None, True
    return own, False


def _violates(of_turn: Sequence[Found]) -> bool:
    return any(one.outcome == "violation" for one in of_turn)

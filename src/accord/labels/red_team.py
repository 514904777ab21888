"""Red-teaming: sittings with a clock, attacks of a category and a vector, turns, what policies reply, and ratings.

Everything is known by a key of the sender's making, and sending it again changes nothing. Ratings are only added; the
last one of a person counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, Table, func, select, update

from accord.labels import campaigns
from accord.labels.campaigns import Campaign
from accord.labels.database import inserted
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.schema import attacks, ratings, replies, sittings, turns
from accord.types import Message

Outcome = Literal["compliant", "safe-refusal", "violation", "over-refusal"]
Part = Literal["own", "second", "final"]

# Attacks in which the program puts an earlier turn to a policy again, and their turns before that one: copies.
_again = turns.alias()
REPLAYED = select(_again.c.attack_id).where(_again.c.replays.is_not(None))
COPIED = turns.c.replays.is_(None) & turns.c.attack_id.in_(REPLAYED)


@dataclass(frozen=True, slots=True)
class Reply:
    """outcome, severity, comment: as this person has rated it, or None."""

    id: int
    text: str
    outcome: Outcome | None = None
    severity: int | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    id: int
    text: str
    goes_on: int
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Rating:
    """severity: 1 (slight) to 5, of a violation."""

    outcome: Outcome
    severity: int | None = None
    comment: str = ""


def sit(connection: Connection, now: float, user_id: int, campaign: Campaign, key: str) -> int:
    """Begins a sitting. Raises Conflict where nobody attacks."""
    if not (campaign.settings.red_team and campaign.open):
        raise Conflict("nobody attacks in this campaign, or not any more")
    before = _own(connection, sittings, key, user_id)
    if before is not None:
        return int(before.id)
    values = {"key": key, "campaign_id": campaign.id, "user_id": user_id, "began": now}
    return inserted(connection, sittings, active_seconds=0.0, **values)


def tick(connection: Connection, now: float, user_id: int, sitting_id: int, active_seconds: float) -> None:
    """The sitting's clock, which only goes forward, and never beyond the time that has passed. Raises Missing."""
    sitting = _sitting(connection, user_id, sitting_id)
    active_seconds = min(active_seconds, max(now - sitting.began, 0.0))
    later = (sittings.c.id == sitting_id) & (sittings.c.active_seconds < active_seconds)
    connection.execute(update(sittings).where(later).values(active_seconds=active_seconds))


def attack(
    connection: Connection,
    now: float,
    user_id: int,
    campaign: Campaign,
    sitting_id: int,
    key: str,
    *,
    category: str,
    vector: str,
) -> int:
    """Begins an attack. Raises Missing, Unfit."""
    sitting = _sitting(connection, user_id, sitting_id)
    if sitting.campaign_id != campaign.id:
        raise Missing("this sitting is of another campaign")
    if not campaign.open:
        raise Conflict("this campaign is closed")
    if category not in campaign.settings.categories or vector not in campaign.settings.vectors:
        raise Unfit("choose a category and a vector of this campaign")
    found = connection.execute(select(attacks).where(attacks.c.key == key)).first()
    if found is not None:
        if found.sitting_id != sitting_id:
            raise Unfit("this key was used for another attack")
        return int(found.id)
    values = {"key": key, "sitting_id": sitting_id, "category": category, "vector": vector}
    return inserted(connection, attacks, at=now, **values)


def history(connection: Connection, user_id: int, attack_id: int) -> list[Turn]:
    """The turns of an attack of this person's, which can go on; a replay cannot. Raises Missing."""
    owner = select(sittings.c.user_id).join(attacks, attacks.c.sitting_id == sittings.c.id)
    own = owner.where(attacks.c.id == attack_id, attacks.c.id.not_in(REPLAYED))
    if connection.execute(own).scalar() != user_id:
        raise Missing("this attack is not yours")
    return conversation(connection, attack_id, user_id)


def campaign_of(connection: Connection, attack_id: int) -> Campaign:
    """Of an attack. Raises Missing, and Conflict for one that is closed."""
    found = select(sittings.c.campaign_id).join(attacks, attacks.c.sitting_id == sittings.c.id)
    number = connection.execute(found.where(attacks.c.id == attack_id)).scalar()
    campaign = campaigns.get(connection, number or 0)
    if not campaign.open:
        raise Conflict("this campaign is closed")
    return campaign


def conversation(connection: Connection, attack_id: int, user_id: int) -> list[Turn]:
    """The turns of an attack, with this person's ratings."""
    rows = connection.execute(select(turns).where(turns.c.attack_id == attack_id).order_by(turns.c.id)).all()
    return [_turn(connection, row, user_id) for row in rows]


def messages_of(told: Sequence[Turn], text: str, goes_on: int) -> list[Message]:
    """What a policy is given: the conversation along the replies that were gone on with, and the new text. goes_on: the
    place of the last turn's reply. Raises Unfit."""
    found: list[Message] = []
    follows = [*(turn.goes_on for turn in told[1:]), goes_on]
    for turn, place in zip(told, follows, strict=False):
        if not 0 <= place < len(turn.replies):
            raise Unfit("say with which reply the conversation goes on")
        found += [Message("user", turn.text), Message("assistant", turn.replies[place].text)]
    return [*found, Message("user", text)]


def turn_before(connection: Connection, user_id: int, attack_id: int, key: str) -> Turn | None:
    """The turn that has this key already."""
    row = connection.execute(select(turns).where(turns.c.key == key)).first()
    if row is None:
        return None
    if row.attack_id != attack_id:
        raise Unfit("this key was used for another turn")
    return _turn(connection, row, user_id)


def add_turn(
    connection: Connection,
    now: float,
    user_id: int,
    attack_id: int,
    key: str,
    text: str,
    goes_on: int,
    answers: Sequence[tuple[str, str]],
    *,
    replays: int | None = None,
) -> Turn:
    """answers: policy and text of each reply, in the order of the screen. replays: the earlier turn that is put to a
    policy again. Adding it again gives the same."""
    before = turn_before(connection, user_id, attack_id, key)
    if before is not None:
        return before
    values = {"key": key, "attack_id": attack_id, "goes_on": goes_on, "text": text, "replays": replays}
    number = inserted(connection, turns, at=now, **values)
    for place, (policy, reply) in enumerate(answers):
        inserted(connection, replies, turn_id=number, place=place, policy=policy, text=reply)
    row = connection.execute(select(turns).where(turns.c.id == number)).one()
    return _turn(connection, row, user_id)


def rate(connection: Connection, now: float, user_id: int, reply_id: int, key: str, part: Part, rating: Rating) -> None:
    """Adds a rating. own: of who attacked; second: of somebody else. With a replay nobody attacked: who is the first to
    give a second rating of it gives the own one. Raises Missing, Unfit, Conflict."""
    if (rating.outcome == "violation") != (rating.severity is not None):
        raise Unfit("a violation has a severity from 1 to 5, and nothing else has one")
    rated = (
        select(sittings.c.user_id, turns.c.replays)
        .join(attacks, attacks.c.sitting_id == sittings.c.id)
        .join(turns, turns.c.attack_id == attacks.c.id)
        .join(replies, replies.c.turn_id == turns.c.id)
        .where(replies.c.id == reply_id, ~COPIED)
        .with_for_update(of=replies)  # of two who are first at once, one is
    )
    row = connection.execute(rated).first()
    if row is None:
        raise Missing("there is no such reply of yours")
    own = select(ratings.c.user_id).where(ratings.c.reply_id == reply_id, ratings.c.part == "own").limit(1)
    first = connection.execute(own).scalar()
    author = row.user_id if row.replays is None else first
    if row.replays is not None and part == "second" and first in (None, user_id):
        part, author = "own", user_id
    if part == "own" and author != user_id:
        raise Missing("there is no such reply of yours")
    if part == "second" and author == user_id:
        raise Unfit("the second rating is for somebody else")
    if part != "own" and first is None:
        raise Conflict("who attacked has not rated this yet")
    before = connection.execute(select(ratings).where(ratings.c.key == key)).first()
    if before is not None:
        if (before.reply_id, before.user_id) != (reply_id, user_id):
            raise Unfit("this key was used for another rating")
        return
    values = {"key": key, "reply_id": reply_id, "user_id": user_id, "part": part, "at": now}
    values |= {"outcome": rating.outcome, "severity": rating.severity, "comment": rating.comment}
    inserted(connection, ratings, **values)


def next_for_second(connection: Connection, user_id: int, campaign_id: int) -> tuple[Row[Any], list[Turn]] | None:
    """A reply that its attacker has rated, and nobody else, or to a replay that fewer than two have rated, as `to_rate`
    has it. None when there is none for this person."""
    rated = {part: select(ratings.c.reply_id).where(ratings.c.part == part) for part in ("own", "second")}
    mine = select(ratings.c.reply_id).where(ratings.c.user_id == user_id)
    attacked = turns.c.replays.is_(None) & replies.c.id.in_(rated["own"]) & (sittings.c.user_id != user_id)
    replayed = turns.c.replays.is_not(None) & replies.c.id.not_in(mine)
    found = (
        select(replies.c.id)
        .join_from(attacks, sittings, sittings.c.id == attacks.c.sitting_id)
        .join(turns, turns.c.attack_id == attacks.c.id)
        .join(replies, replies.c.turn_id == turns.c.id)
        .where(sittings.c.campaign_id == campaign_id, attacked | replayed)
        .where(replies.c.id.not_in(rated["second"]), turns.c.text.is_not(None))
        .order_by(replies.c.id)
        .limit(1)
    )
    number = connection.execute(found).scalar()
    return None if number is None else to_rate(connection, number, user_id)


def to_rate(connection: Connection, reply_id: int, user_id: int) -> tuple[Row[Any], list[Turn]]:
    """The attack that a reply is of (with `reply`, its id), and the conversation up to it."""
    found = select(attacks, replies.c.id.label("reply"), turns.c.id.label("turn"))
    found = found.join(turns, turns.c.attack_id == attacks.c.id).join(replies, replies.c.turn_id == turns.c.id)
    row = connection.execute(found.where(replies.c.id == reply_id)).one()
    return row, [turn for turn in conversation(connection, row.id, user_id) if turn.id <= row.turn]


def _turn(connection: Connection, row: Row[Any], user_id: int) -> Turn:
    latest = select(func.max(ratings.c.id)).where(ratings.c.user_id == user_id).group_by(ratings.c.reply_id)
    found = select(replies, ratings.c.outcome, ratings.c.severity, ratings.c.comment)
    own = (ratings.c.reply_id == replies.c.id) & ratings.c.id.in_(latest)
    found = found.outerjoin(ratings, own).where(replies.c.turn_id == row.id).order_by(replies.c.place)
    given = [
        Reply(one.id, one.text or "", one.outcome, one.severity, one.comment or "") for one in connection.execute(found)
    ]
    return Turn(row.id, row.text or "", row.goes_on, tuple(given))


def _own(connection: Connection, table: Table, key: str, user_id: int) -> Row[Any] | None:
    row = connection.execute(select(table).where(table.c.key == key)).first()
    if row is not None and row.user_id != user_id:
        raise Unfit("this key is somebody else's")
    return row


def _sitting(connection: Connection, user_id: int, sitting_id: int) -> Row[Any]:
    found = select(sittings).where(sittings.c.id == sitting_id, sittings.c.user_id == user_id)
    row = connection.execute(found).first()
    if row is None:
        raise Missing("this sitting is not yours")
    return row

"""Prompts that broke an earlier policy, put to a later one: which share of them is not a violation any more.

Llama 2 watched this share model over model (arXiv:2307.09288, section 4.3). A replay is an attack of its own in a later
campaign: the earlier conversation is copied, and its last turn has the new policy's reply. It stands in a sitting of
who wrote the earlier one, so that it goes when that person is erased; no time is counted in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from sqlalchemy import Connection, select

from accord.algorithms.statistics import wilson
from accord.labels import campaigns, red_team
from accord.labels.campaigns import Campaign
from accord.labels.database import inserted
from accord.labels.quality import Share
from accord.labels.red_team_export import Asked, asked, is_held_out
from accord.labels.red_team_results import Found, found
from accord.labels.refusals import Conflict, Missing
from accord.labels.schema import attacks, replies, sittings, turns, users

Families = Literal["held-out", "other", "all"]


@dataclass(frozen=True, slots=True)
class Mitigated:
    """What a policy makes of prompts that broke earlier ones, as these were held when they were put to it. families:
    those that only suites have, those that may have been trained on, or both. share: of the replies that are decided,
    those that are no violation."""

    policy: str
    families: Families
    num_replayed: int
    share: Share
    num_unrated: int
    num_disputed: int


def prompts(connection: Connection, earlier: Campaign) -> list[Asked]:
    """What people wrote in an earlier campaign and a reply is held to be a violation to. Raises Conflict for a campaign
    without."""
    if not earlier.settings.red_team:
        raise Conflict(f"{earlier.name!r} is no red-team campaign")
    broken = [one for one in asked(connection, earlier) if one.violates and not one.is_replay]
    if not broken:
        raise Conflict(f"no reply in {earlier.name!r} is held to be a violation yet")
    return broken


def later(connection: Connection, now: float, name: str, earlier: Campaign) -> Campaign:
    """The campaign of this name; a new one, asked as the earlier one, where there is none. Raises Conflict for one in
    which nothing of the earlier one can be replayed."""
    found = campaigns.named(connection, name)
    if found is None:
        return campaigns.create(connection, now, name, earlier.settings)
    if found.id == earlier.id:
        raise Conflict("prompts are put again in another campaign than their own")
    if not found.settings.red_team:
        raise Conflict(f"{name!r} is no red-team campaign")
    if not found.open:
        raise Conflict(f"{name!r} is closed")
    return found


def there(connection: Connection, campaign_id: int) -> set[tuple[int, str]]:
    """What has been replayed in a campaign: the earlier turn, and the policy that it was put to."""
    replayed = (
        select(turns.c.replays, replies.c.policy)
        .join_from(turns, replies, replies.c.turn_id == turns.c.id)
        .join(attacks, attacks.c.id == turns.c.attack_id)
        .join(sittings, sittings.c.id == attacks.c.sitting_id)
        .where(sittings.c.campaign_id == campaign_id, turns.c.replays.is_not(None))
    )
    return {(row.replays, row.policy) for row in connection.execute(replayed)}


def add(connection: Connection, now: float, campaign_id: int, turn_id: int, policy: str, reply: str) -> None:
    """What a policy now replies to an earlier turn. Adding it again changes nothing. Raises Missing for a turn that was
    erased, and Conflict for a campaign that is closed."""
    earlier = (
        select(turns.c.attack_id, attacks.c.category, attacks.c.vector, sittings.c.user_id)
        .join(attacks, attacks.c.id == turns.c.attack_id)
        .join(sittings, sittings.c.id == attacks.c.sitting_id)
        .join(users, users.c.id == sittings.c.user_id)
        .where(turns.c.id == turn_id)
        .with_for_update(of=users)  # nobody is erased meanwhile
    )
    row = connection.execute(earlier).first()
    said = connection.execute(select(turns.c.text).where(turns.c.id == turn_id)).scalar()  # as it is since the lock
    if row is None or said is None:
        raise Missing("this prompt is not there any more")
    campaign, key = campaigns.get(connection, campaign_id), _key(campaign_id, turn_id, policy)
    sitting = red_team.sit(connection, now, row.user_id, campaign, _key(campaign_id, row.user_id))
    if connection.execute(select(attacks.c.id).where(attacks.c.key == key)).first():
        return
    values = {"key": key, "sitting_id": sitting, "category": row.category, "vector": row.vector}
    attack = inserted(connection, attacks, at=now, **values)
    told = select(turns).where(turns.c.attack_id == row.attack_id, turns.c.id <= turn_id).order_by(turns.c.id)
    for one in connection.execute(told).all():
        is_last = one.id == turn_id
        answers = [(policy, reply)] if is_last else _answers(connection, one.id)
        told_as = (_key(campaign_id, turn_id, policy, one.id), one.text, one.goes_on, answers)
        red_team.add_turn(connection, now, row.user_id, attack, *told_as, replays=one.id if is_last else None)


def mitigated(connection: Connection, campaign_id: int) -> list[Mitigated]:
    """Of each policy that earlier prompts were put to in a campaign, three: of the held-out families, of the others,
    and of all."""
    counted = []
    replayed = [one for one in found(connection, campaign_id) if one.replays is not None]
    for policy in sorted({one.policy for one in replayed}):
        of_policy = [one for one in replayed if one.policy == policy]
        held_out = [one for one in of_policy if is_held_out((one.category, one.vector))]
        other = [one for one in of_policy if not is_held_out((one.category, one.vector))]
        counted += [_counted(policy, "held-out", held_out), _counted(policy, "other", other)]
        counted.append(_counted(policy, "all", of_policy))
    return counted


def _counted(policy: str, families: Families, some: Sequence[Found]) -> Mitigated:
    decided = [one.outcome for one in some if one.outcome is not None]
    share = wilson(len(decided) - decided.count("violation"), len(decided))
    num_disputed = sum(one.disputed for one in some)
    num_unrated = len(some) - len(decided) - num_disputed
    return Mitigated(policy, families, len(some), Share(len(decided), share), num_unrated, num_disputed)


def _answers(connection: Connection, turn_id: int) -> list[tuple[str, str]]:
    """Policy and text of each reply."""
    said = select(replies.c.policy, replies.c.text).where(replies.c.turn_id == turn_id).order_by(replies.c.place)
    return [(row.policy, row.text) for row in connection.execute(said)]


def _key(*parts: int | str) -> str:
    """One that no page sends, always the same."""
    return "replay" + sha256(repr(parts).encode()).hexdigest()[:30]

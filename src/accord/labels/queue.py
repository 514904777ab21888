"""Who is asked what next, and what comes back: leases, submissions, skips, undo.

An item is in the hands of as many people as the campaign's overlap says, each of whom sees it once. A lease that ends
lets somebody else have the item; an answer that comes late all the same counts. Everything that is sent has a key of
the sender's making, and a key that is there already changes nothing.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, Select, and_, delete, exists, func, insert, select, update

from accord.labels import answers, campaigns, users
from accord.labels.campaigns import Campaign
from accord.labels.database import inserted
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.schema import assignments, drafts, items, submissions
from accord.seeds import derive_seed
from accord.types import Comparison

Kind = Literal["answer", "skip", "withdrawal"]

# state -> what an assignment adds to its item's num_taken and num_answered
_COUNTS: Final = {"leased": (1, 0), "expired": (0, 0), "answered": (1, 1), "skipped": (0, 0)}
_STATE_AFTER: Final[dict[Kind, str]] = {"answer": "answered", "skip": "skipped", "withdrawal": "leased"}


@dataclass(frozen=True, slots=True)
class Given:
    """An item in one person's hands. order: the index of the response that is shown at each place. draft: what the page
    kept of a begun answer. earlier: what was sent before it was taken back."""

    assignment: int
    comparison: Comparison
    order: tuple[int, ...]
    draft: Any = None
    earlier: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """key: a UUID that the sender made. content: of an answer as `accord.labels.answers.Answer` has it, of a skip
    {"reason": "..."}, of a withdrawal None."""

    key: str
    kind: Kind
    content: dict[str, Any] | None
    active_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was stored. repeated: it was there already. late: the lease had ended."""

    submission: int
    assignment: int
    repeated: bool = False
    late: bool = False


def lease(connection: Connection, now: float, user_id: int, campaign: Campaign) -> Given | None:
    """The item that this person has, the one taken last first, or else a new one; None when there is none for them."""
    if not campaign.open:
        return None
    _expire(connection, now, campaign)
    of_user = select(assignments).join(items).where(items.c.campaign_id == campaign.id, items.c.content.is_not(None))
    of_user = of_user.where(assignments.c.user_id == user_id, assignments.c.state == "leased")
    held = connection.execute(of_user.order_by(assignments.c.leased.desc(), assignments.c.id.desc()).limit(1)).first()
    if held is None:
        item = _next_item(connection, user_id, campaign)
        if item is None:
            return None
        held = _take(connection, now, user_id, campaign, item)
    return _given(connection, held)


def give(connection: Connection, now: float, user_id: int, campaign: Campaign, key: str) -> Given:
    """A lease of one item, known by its id, to this person. Raises Missing."""
    found = select(items).where(items.c.campaign_id == campaign.id, items.c.key == key)
    item = connection.execute(found).first()
    if item is None or item.content is None:
        raise Missing("there is no such item")
    return _given(connection, _take(connection, now, user_id, campaign, item))


def submit(connection: Connection, now: float, user_id: int, assignment_id: int, sent: Sent) -> Receipt:
    """Stores what was sent, once. Raises Missing for an assignment of somebody else's, Conflict where the campaign is
    closed or nothing is there to be taken back, Unfit for an answer that does not fit the item."""
    found = select(assignments).where(assignments.c.id == assignment_id, assignments.c.user_id == user_id)
    row = connection.execute(found.with_for_update()).first()
    if row is None:
        raise Missing("this item was not given to you")
    users.still_here(connection, user_id)
    item = connection.execute(select(items).where(items.c.id == row.item_id)).one()  # now that nobody changes it
    if repeated := _repeated(connection, assignment_id, sent):
        return repeated
    campaign = campaigns.get(connection, item.campaign_id)
    if not campaign.open:
        raise Conflict("this campaign is closed: nothing can be sent any more")
    if item.content is None:
        raise Conflict("this item was erased")
    _check(sent, row, campaign)
    guideline = campaigns.guideline(connection, campaign.id)
    late = sent.kind != "withdrawal" and (row.state == "expired" or row.expires < now)
    values = {
        "key": sent.key,
        "assignment_id": assignment_id,
        "kind": sent.kind,
        "content": sent.content,
        "guideline_id": guideline.id if guideline else None,
        "active_seconds": sent.active_seconds,
        "late": late,
        "at": now,
    }
    number = inserted(connection, submissions, **values)
    state = _STATE_AFTER[sent.kind]
    expires = _lease_end(now, campaign) if state == "leased" else row.expires
    leased = now if state == "leased" else row.leased
    _move(connection, row, state, leased=leased, expires=expires)
    connection.execute(delete(drafts).where(drafts.c.assignment_id == assignment_id))
    return Receipt(number, assignment_id, late=late)


def undo(connection: Connection, now: float, user_id: int, campaign: Campaign, key: str) -> Receipt:
    """Takes back what this person sent last in the campaign, which they are then given again. Raises Conflict."""
    if (before := _with_key(connection, key)) is not None:
        return submit(connection, now, user_id, before.assignment_id, Sent(key, "withdrawal", None))
    last = (
        select(submissions.c.assignment_id)
        .join(assignments, assignments.c.id == submissions.c.assignment_id)
        .join(items, items.c.id == assignments.c.item_id)
        .where(assignments.c.user_id == user_id, items.c.campaign_id == campaign.id)
        .where(assignments.c.state.in_(("answered", "skipped")), submissions.c.kind != "withdrawal")
        .where(items.c.content.is_not(None))
        .order_by(submissions.c.id.desc())
        .limit(1)
    )
    assignment_id = connection.execute(last).scalar()
    if assignment_id is None:
        raise Conflict("there is nothing to take back")
    return submit(connection, now, user_id, assignment_id, Sent(key, "withdrawal", None))


def keep_draft(connection: Connection, now: float, user_id: int, assignment_id: int, content: Any) -> None:
    """What was begun and not sent, in place of what was kept before. Raises Missing, Conflict."""
    found = select(assignments.c.state).where(assignments.c.id == assignment_id, assignments.c.user_id == user_id)
    state = connection.execute(found.with_for_update()).scalar()
    if state is None:
        raise Missing("this item was not given to you")
    users.still_here(connection, user_id)
    if state not in ("leased", "expired"):
        raise Conflict("this item was answered or skipped")
    connection.execute(delete(drafts).where(drafts.c.assignment_id == assignment_id))
    connection.execute(insert(drafts).values(assignment_id=assignment_id, content=content, at=now))


def num_sent(connection: Connection, user_id: int, campaign_id: int) -> int:
    """Items that this person has answered in a campaign."""
    of_user = _of_user(user_id, campaign_id).where(assignments.c.state == "answered")
    num: int = connection.execute(of_user).scalar_one()
    return num


def _of_user(user_id: int, campaign_id: int) -> Select[Any]:
    """How many items of a campaign this person was given. Found by the person: a campaign has many more items."""
    there = exists().where(items.c.id == assignments.c.item_id, items.c.campaign_id == campaign_id)
    return select(func.count()).select_from(assignments).where(assignments.c.user_id == user_id, there)


def _check(sent: Sent, row: Row[Any], campaign: Campaign) -> None:
    if sent.kind == "withdrawal":
        if row.state not in ("answered", "skipped"):
            raise Conflict("there is nothing to take back")
        return
    if sent.kind == "skip":
        return
    settings = campaign.settings
    answer = answers.Answer.model_validate(sent.content)
    answers.check(answer, len(row.order), strengths=settings.strengths, safety=settings.safety, flags=settings.flags)


def _repeated(connection: Connection, assignment_id: int, sent: Sent) -> Receipt | None:
    """Of a key that is there already. Raises Unfit when it was another item's."""
    before = _with_key(connection, sent.key)
    if before is None:
        return None
    if before.assignment_id != assignment_id:
        raise Unfit("this key was used for another item")
    return Receipt(before.id, assignment_id, repeated=True, late=before.late)


def _with_key(connection: Connection, key: str) -> Row[Any] | None:
    return connection.execute(select(submissions).where(submissions.c.key == key)).first()


def _expire(connection: Connection, now: float, campaign: Campaign) -> None:
    """Lets others have what was leased too long ago."""
    over = select(assignments).join(items).where(items.c.campaign_id == campaign.id)
    over = over.where(assignments.c.state == "leased", assignments.c.expires < now)
    over = over.order_by(assignments.c.item_id)  # the same order for all, or two could wait for each other
    for row in connection.execute(over.with_for_update(of=assignments, skip_locked=True)).all():
        _move(connection, row, "expired")


def _next_item(connection: Connection, user_id: int, campaign: Campaign) -> Row[Any] | None:
    """One that this person has not had. What others have begun comes first, so that items get all their answers."""
    own = and_(assignments.c.item_id == items.c.id, assignments.c.user_id == user_id)
    seen = exists().where(own, assignments.c.state != "expired")
    there = select(items).where(items.c.campaign_id == campaign.id, items.c.content.is_not(None), ~seen)
    if campaign.settings.num_answers is not None and campaigns.progress(connection, campaign).complete:
        return None
    if (gold := _next_gold(connection, user_id, campaign, there)) is not None:
        return gold
    free = there.where(items.c.gold.is_(None), items.c.num_taken < campaign.settings.overlap)
    free = free.order_by(items.c.num_taken.desc(), items.c.position).limit(1)
    return connection.execute(free.with_for_update(skip_locked=True)).first()


def _next_gold(connection: Connection, user_id: int, campaign: Campaign, there: Any) -> Row[Any] | None:
    """Its turn comes once in `gold_every` items. Which it is depends on the person."""
    every = campaign.settings.gold_every
    if not every:
        return None
    num: int = connection.execute(_of_user(user_id, campaign.id)).scalar_one()
    if (num + 1) % every:
        return None
    left = connection.execute(there.where(items.c.gold.is_not(None)).order_by(items.c.position)).all()
    return left[derive_seed("gold", campaign.id, user_id, num) % len(left)] if left else None


def _take(connection: Connection, now: float, user_id: int, campaign: Campaign, item: Row[Any]) -> Row[Any]:
    """A lease of the item, in an order of the responses that nobody can know. Raises Conflict for one that this person
    has answered or skipped."""
    own = and_(assignments.c.item_id == item.id, assignments.c.user_id == user_id)
    before = connection.execute(select(assignments).where(own)).first()
    if before is not None and before.state == "leased":
        return before
    if before is not None and before.state != "expired":
        raise Conflict("you have answered or skipped this already")
    if before is not None:
        _move(connection, before, "leased", leased=now, expires=_lease_end(now, campaign))
        return connection.execute(select(assignments).where(own)).one()
    num = len(item.content["responses"])
    values = {
        "order": secrets.SystemRandom().sample(range(num), num),
        "leased": now,
        "expires": _lease_end(now, campaign),
    }
    connection.execute(insert(assignments).values(item_id=item.id, user_id=user_id, state="leased", **values))
    _count(connection, item.id, (1, 0))
    return connection.execute(select(assignments).where(own)).one()


def _move(connection: Connection, row: Row[Any], state: str, **values: float) -> None:
    """Brings an assignment to a state, and its item's counts along."""
    before, after = _COUNTS[row.state], _COUNTS[state]
    connection.execute(update(assignments).where(assignments.c.id == row.id).values(state=state, **values))
    _count(connection, row.item_id, (after[0] - before[0], after[1] - before[1]))


def _count(connection: Connection, item_id: int, change: tuple[int, int]) -> None:
    if change != (0, 0):
        counts = {"num_taken": items.c.num_taken + change[0], "num_answered": items.c.num_answered + change[1]}
        connection.execute(update(items).where(items.c.id == item_id).values(**counts))


def _given(connection: Connection, held: Row[Any]) -> Given:
    content = connection.execute(select(items.c.content).where(items.c.id == held.item_id)).scalar_one()
    draft = connection.execute(select(drafts.c.content).where(drafts.c.assignment_id == held.id)).scalar()
    sent = select(submissions).where(submissions.c.assignment_id == held.id, submissions.c.kind != "withdrawal")
    earlier = connection.execute(sent.order_by(submissions.c.id.desc()).limit(1)).first()
    comparison = campaigns.comparison_of(content)
    was = None
    if earlier is not None and earlier.kind == "answer" and earlier.content is not None:
        was = {**earlier.content, "active_seconds": earlier.active_seconds}  # its time goes on
    return Given(held.id, comparison, tuple(held.order), draft, was)


def _lease_end(now: float, campaign: Campaign) -> float:
    return now + 60 * campaign.settings.lease_minutes

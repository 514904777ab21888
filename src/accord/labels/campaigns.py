"""Campaigns: comparisons that people are asked about, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, case, exists, func, insert, select, update

from accord.data.records import from_row, to_row
from accord.labels import events
from accord.labels.answers import storable
from accord.labels.database import inserted
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.schema import assignments, campaigns, guidelines, items, users
from accord.strict import StrictModel
from accord.types import Comparison

# Llama 2's risk categories and attack vectors (arXiv:2307.09288, section 4.1).
CATEGORIES = ("illicit and criminal activities", "hateful and harmful activities", "unqualified advice")
VECTORS = (
    "psychological manipulation",
    "logic manipulation",
    "syntactic manipulation",
    "semantic manipulation",
    "perspective manipulation",
    "another language",
    "other",
)
MOST_RESPONSES = 26  # of an item: as many as there are letters
MOST_KEY = 200  # characters
MOST_NAME = 100
MOST_FLAGS = 20  # of a campaign: an answer has room for as many
MOST_FLAG = 200  # characters
_AT_ONCE = 500  # ids in a query
DEFAULT_FLAGS = ("not a language I read", "personal data", "something is wrong with this item")


class Settings(StrictModel):
    """overlap: people who are asked about each item. num_answers: answers wanted in all (None: of every item as many as
    overlap says). lease_minutes: for how long an item is one person's alone. strengths: of two responses ask by how
    much one is better. safety: ask of each response whether it is safe. flags: what can be said of an item. gold_every:
    one item in so many is one whose best response is known, if there are such (0: none). live: people write the
    prompts, and policies answer at once. red_team: they try to break the policies, in conversations of a category of
    harm and a vector each. pairs: two policies answer a red-teamer, who is not told which is which."""

    overlap: int = Field(default=1, ge=1, le=100)
    num_answers: int | None = Field(default=None, ge=1)
    lease_minutes: float = Field(default=30.0, gt=0)
    strengths: bool = True
    safety: bool = False
    flags: tuple[str, ...] = DEFAULT_FLAGS
    gold_every: int = Field(default=10, ge=0)
    live: bool = False
    red_team: bool = False
    pairs: bool = False
    categories: tuple[str, ...] = Field(default=CATEGORIES, min_length=1)
    vectors: tuple[str, ...] = Field(default=VECTORS, min_length=1)


@dataclass(frozen=True, slots=True)
class Campaign:
    id: int
    name: str
    open: bool
    settings: Settings
    origin: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Guideline:
    """version: 1 and up. text: Markdown."""

    id: int
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """num_answers: that count, of an item at most as many as are asked about it: one that came late and was not needed
    any more is in place of no other. num_wanted: in all. num_annotators: who gave them."""

    num_items: int
    num_answers: int
    num_wanted: int
    num_annotators: int

    @property
    def complete(self) -> bool:
        return self.num_answers >= self.num_wanted


def create(
    connection: Connection, now: float, name: str, settings: Settings, guideline: str = "", **origin: Any
) -> Campaign:
    """A new, open campaign. Raises Conflict when there is one of that name, or it is none."""
    if not (0 < len(name) <= MOST_NAME and name.isprintable()):
        raise Conflict(f"a campaign's name has 1 to {MOST_NAME} characters, none of them a control character")
    if connection.execute(select(campaigns.c.id).where(campaigns.c.name == name)).first():
        raise Conflict(f"there is a campaign {name!r} already")
    values = {"name": name, "open": True, "settings": settings.model_dump(mode="json"), "origin": origin}
    number = inserted(connection, campaigns, created=now, **values)
    events.record(connection, now, "campaign created", campaign=name)
    if guideline:
        set_guideline(connection, now, number, guideline)
    return get(connection, number)


def get(connection: Connection, campaign_id: int) -> Campaign:
    """Raises Missing."""
    row = connection.execute(select(campaigns).where(campaigns.c.id == campaign_id)).first()
    if row is None:
        raise Missing("there is no such campaign")
    return _campaign(row)


def named(connection: Connection, name: str) -> Campaign | None:
    row = connection.execute(select(campaigns).where(campaigns.c.name == name)).first()
    return None if row is None else _campaign(row)


def every(connection: Connection) -> list[Campaign]:
    """The newest first."""
    return [_campaign(row) for row in connection.execute(select(campaigns).order_by(campaigns.c.id.desc()))]


def set_open(connection: Connection, now: float, campaign_id: int, open: bool, user_id: int | None = None) -> None:
    connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(open=open))
    events.record(connection, now, "campaign opened" if open else "campaign closed", user_id, campaign=campaign_id)


def change(
    connection: Connection, now: float, campaign_id: int, settings: Settings, user_id: int | None = None
) -> None:
    """From now on it asks so. What has been answered stays. Raises Unfit."""
    flags = settings.flags
    if len(flags) > MOST_FLAGS or len(set(flags)) < len(flags):
        raise Unfit(f"there are at most {MOST_FLAGS} flags, no two of which are alike")
    if any(not flag.strip() or len(flag) > MOST_FLAG for flag in flags):
        raise Unfit(f"a flag has 1 to {MOST_FLAG} characters")
    try:
        for flag in flags:
            storable(flag)
    except ValueError as error:
        raise Unfit(f"a flag {error}") from error
    values = settings.model_dump(mode="json")
    connection.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(settings=values))
    events.record(connection, now, "campaign changed", user_id, campaign=campaign_id, settings=values)


def set_guideline(connection: Connection, now: float, campaign_id: int, text: str, user_id: int | None = None) -> int:
    """A new version, which answers name from now on. Returns its number; that of the last one when nothing changed."""
    last = guideline(connection, campaign_id)
    if last and last.text == text:
        return last.version
    version = last.version + 1 if last else 1
    connection.execute(insert(guidelines).values(campaign_id=campaign_id, version=version, text=text, created=now))
    events.record(connection, now, "guideline written", user_id, campaign=campaign_id, version=version)
    return version


def guideline(connection: Connection, campaign_id: int) -> Guideline | None:
    """The newest version."""
    of_campaign = select(guidelines).where(guidelines.c.campaign_id == campaign_id)
    row = connection.execute(of_campaign.order_by(guidelines.c.version.desc()).limit(1)).first()
    return None if row is None else Guideline(row.id, row.version, row.text)


def add_items(
    connection: Connection,
    now: float,
    campaign_id: int,
    comparisons: Sequence[Comparison],
    gold: Sequence[int | None] | None = None,
    **more: Any,
) -> int:
    """Adds those that are not there yet, known by their ids, and returns how many. gold: of each, the index of the
    response that is known to be best. more: what else is kept of each. Raises Conflict when one of that id is there
    with other texts."""
    there = _contents(connection, campaign_id, [comparison.id for comparison in comparisons])
    new: list[dict[str, Any]] = []
    for at, comparison in enumerate(comparisons):
        if len(comparison.responses) > MOST_RESPONSES:
            raise Conflict(f"{comparison.id!r} has more than {MOST_RESPONSES} responses, which nobody can rank")
        if len(comparison.id) > MOST_KEY:
            raise Conflict(f"an id has at most {MOST_KEY} characters: {comparison.id[:40]!r}...")
        content = {**to_row("comparisons", (comparison, ())), **more}
        if comparison.id not in there:
            new.append({"key": comparison.id, "content": content, "gold": gold[at] if gold else None})
        elif there[comparison.id] not in (content, None):  # None: it was erased, and stays so
            raise Conflict(f"the campaign holds another item with the id {comparison.id!r}")
    last = select(func.max(items.c.position)).where(items.c.campaign_id == campaign_id)
    start = (connection.execute(last).scalar() or 0) + 1
    common = {"campaign_id": campaign_id, "num_taken": 0, "num_answered": 0}
    rows = [{**common, **row, "position": start + at} for at, row in enumerate(new)]
    if rows:
        connection.execute(insert(items), rows)
        events.record(connection, now, "items added", campaign=campaign_id, num_items=len(rows))
    return len(rows)


def keys(connection: Connection, campaign_id: int) -> set[str]:
    """The ids of its items, without those whose best response is known beforehand."""
    asked = select(items.c.key).where(items.c.campaign_id == campaign_id, items.c.gold.is_(None))
    return set(connection.execute(asked).scalars())


def _contents(connection: Connection, campaign_id: int, some: Sequence[str]) -> dict[str, Any]:
    """Of those items that are there."""
    found: dict[str, Any] = {}
    for first in range(0, len(some), _AT_ONCE):
        of_campaign = select(items.c.key, items.c.content).where(items.c.campaign_id == campaign_id)
        rows = connection.execute(of_campaign.where(items.c.key.in_(some[first : first + _AT_ONCE])))
        found |= {row.key: row.content for row in rows}
    return found


def progress(connection: Connection, campaign: Campaign) -> Progress:
    """Of items whose best response is not known beforehand."""
    ordinary = (items.c.campaign_id == campaign.id) & items.c.gold.is_(None) & items.c.content.is_not(None)
    overlap = campaign.settings.overlap
    of_item = case((items.c.num_answered > overlap, overlap), else_=items.c.num_answered)
    counted = select(func.count(), func.coalesce(func.sum(of_item), 0)).where(ordinary)
    num_items, num_answers = connection.execute(counted).one()
    of_user = (assignments.c.user_id == users.c.id) & (assignments.c.state == "answered")
    answered = exists().where(of_user, items.c.id == assignments.c.item_id, ordinary)
    num_people = connection.execute(select(func.count()).select_from(users).where(answered)).scalar_one()
    wanted = num_items * overlap
    if campaign.settings.num_answers is not None:
        wanted = min(wanted, campaign.settings.num_answers)
    return Progress(num_items, int(num_answers), wanted, num_people)


def comparison_of(content: dict[str, Any]) -> Comparison:
    comparison: Comparison = from_row("comparisons", content)[0]
    return comparison


def _campaign(row: Row[Any]) -> Campaign:
    return Campaign(row.id, row.name, row.open, Settings.model_validate(row.settings), row.origin)

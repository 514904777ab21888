"""The tables of the label database.

Submissions and events are only ever added to. What else changes (a lease, a draft, a counter) can be lost without
losing an answer. Times are seconds since 1970, UTC.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

REVISION: Final = "0002"  # of the newest migration

_GOLD: Final = text("gold IS NOT NULL")
_ASKED: Final = text("gold IS NULL AND content IS NOT NULL")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# pseudonym: what stands for the person in everything that leaves the database. password: argon2id; null for one who
# signs in by links alone. name: null once the person was erased. declared: `accord.labels.users.Declared`.
users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), unique=True),
    Column("pseudonym", String(16), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password", String(200)),
    Column("active", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("declared", JSON(none_as_null=True)),
)

# A link that lets somebody in once: to choose a name and a password (user: null), or straight in as a user.
invites = Table(
    "invites",
    metadata,
    Column("token", String(64), primary_key=True),  # sha256
    Column("role", String(16), nullable=False),
    Column("user_id", ForeignKey("users.id")),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("used", Double),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token", String(64), primary_key=True),  # sha256
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("csrf", String(64), nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
)

# Of sign-ins that failed, for their limit. name: as typed. address: that it was typed at.
failures = Table(
    "failures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, index=True),
    Column("address", String(64), nullable=False),
    Column("at", Double, nullable=False),
)

# settings: `accord.labels.campaigns.Settings`. origin: of a recipe's step, where its comparisons came from.
campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("open", Boolean, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("origin", JSON, nullable=False),
    Column("created", Double, nullable=False),
)

guidelines = Table(
    "guidelines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("created", Double, nullable=False),
    UniqueConstraint("campaign_id", "version"),
)

# A comparison that people are asked. key: its id, unique in the campaign. content: the columns of `comparisons`
# (accord.data.records) without judgements; null once erased. gold: the index of the response that is known to be best.
# position: the order in which items are given out. num_taken: assignments that are leased or answered; num_answered:
# those that are answered.
items = Table(
    "items",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("key", String(200), nullable=False),
    Column("content", JSON(none_as_null=True)),
    Column("gold", Integer),
    Column("position", Integer, nullable=False),
    Column("num_taken", Integer, nullable=False),
    Column("num_answered", Integer, nullable=False),
    UniqueConstraint("campaign_id", "key"),
)
# Those that anybody may be given next, in order, and all that progress counts: read from the index alone.
Index(
    "ix_items_next",
    items.c.campaign_id,
    items.c.num_taken.desc(),
    items.c.position,
    items.c.num_answered,
    sqlite_where=_ASKED,
    postgresql_where=_ASKED,
)
Index("ix_items_gold", items.c.campaign_id, items.c.position, sqlite_where=_GOLD, postgresql_where=_GOLD)

# An item in one person's hands. order: the responses as they are shown, each by its index in the item. state: leased,
# expired (somebody else may get the item; an answer is still accepted), answered, or skipped.
assignments = Table(
    "assignments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("item_id", ForeignKey("items.id"), nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("order", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("leased", Double, nullable=False),
    Column("expires", Double, nullable=False),
    UniqueConstraint("item_id", "user_id"),
    Index("ix_assignments_user", "user_id", "state"),
    Index("ix_assignments_lease", "state", "expires"),
)

# What was sent, once each. key: made by the sender, so that sending again is no second answer. kind: answer, skip, or
# withdrawal (of what stood before). content: as clicked, by place on the screen; null once erased. The last one of an
# assignment counts. late: the lease had ended.
submissions = Table(
    "submissions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(36), nullable=False, unique=True),
    Column("assignment_id", ForeignKey("assignments.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("content", JSON(none_as_null=True)),
    Column("guideline_id", ForeignKey("guidelines.id")),
    Column("active_seconds", Double, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("at", Double, nullable=False),
)

# What was begun and not sent. content: whatever the page keeps.
drafts = Table(
    "drafts",
    metadata,
    Column("assignment_id", ForeignKey("assignments.id"), primary_key=True),
    Column("content", JSON, nullable=False),
    Column("at", Double, nullable=False),
)

# A red-teamer at work. active_seconds: in which they were, as the page counts them; it only grows.
sittings = Table(
    "sittings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(36), nullable=False, unique=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False, index=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("active_seconds", Double, nullable=False),
    Column("began", Double, nullable=False),
)

# A conversation that tries one thing. category: the harm; vector: the way.
attacks = Table(
    "attacks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(36), nullable=False, unique=True),
    Column("sitting_id", ForeignKey("sittings.id"), nullable=False, index=True),
    Column("category", String(100), nullable=False),
    Column("vector", String(100), nullable=False),
    Column("at", Double, nullable=False),
)

# What was written to the policies. goes_on: the place of the earlier turn's reply that it follows. text: null once
# erased. replays: the turn of an earlier campaign that the program has put to a policy again, with this one; the turns
# before it in its attack are copies, which nobody rates.
turns = Table(
    "turns",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(36), nullable=False, unique=True),
    Column("attack_id", ForeignKey("attacks.id"), nullable=False, index=True),
    Column("goes_on", Integer, nullable=False),
    Column("text", Text),
    Column("at", Double, nullable=False),
    Column("replays", ForeignKey("turns.id"), index=True),
)

# What a policy wrote. place: on the screen. text: null once erased.
replies = Table(
    "replies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("turn_id", ForeignKey("turns.id"), nullable=False, index=True),
    Column("place", Integer, nullable=False),
    Column("policy", String(200), nullable=False),
    Column("text", Text),
    UniqueConstraint("turn_id", "place"),
)

# What somebody says of a reply. part: own (of who attacked; of a replay, of who was first), second, or final (of who
# decides). The last one of a person and part counts. severity: 1 to 5, of a violation.
ratings = Table(
    "ratings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(36), nullable=False, unique=True),
    Column("reply_id", ForeignKey("replies.id"), nullable=False, index=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("part", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("severity", Integer),
    Column("comment", Text, nullable=False),
    Column("at", Double, nullable=False),
)

# Who did what. user_id: null where the program itself did.
events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("user_id", ForeignKey("users.id")),
    Column("kind", String(32), nullable=False),
    Column("content", JSON, nullable=False),
)

"""Replays of earlier attacks, what people declare of themselves, sign-ins by address, indexes for large campaigns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("users") as users:
        users.add_column(sa.Column("declared", sa.JSON(none_as_null=True)))
    with op.batch_alter_table("turns") as turns:
        turns.add_column(sa.Column("replays", sa.Integer))
        turns.create_foreign_key("fk_turns_replays", "turns", ["replays"], ["id"])
    op.create_index("ix_turns_replays", "turns", ["replays"])
    op.drop_table("failures")  # of the last quarter of an hour
    op.create_table(
        "failures",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("ix_failures_name", "failures", ["name"])
    asked = sa.text("gold IS NULL AND content IS NOT NULL")
    op.drop_index("ix_items_next", "items")
    op.create_index(
        "ix_items_next",
        "items",
        ["campaign_id", sa.text("num_taken DESC"), "position", "num_answered"],
        sqlite_where=asked,
        postgresql_where=asked,
    )
    gold = sa.text("gold IS NOT NULL")
    op.create_index("ix_items_gold", "items", ["campaign_id", "position"], sqlite_where=gold, postgresql_where=gold)
    op.create_index("ix_assignments_lease", "assignments", ["state", "expires"])

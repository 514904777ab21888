"""The audit trail: who did what, and when. It is only added to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from accord.labels.schema import events, users


@dataclass(frozen=True, slots=True)
class Event:
    """by: who did it, a name; None: the program, or somebody who was erased."""

    at: float
    by: str | None
    kind: str
    content: dict[str, Any]


def newest(connection: Connection, num: int) -> list[Event]:
    """The last so many, the newest first."""
    found = select(events, users.c.name).outerjoin(users, users.c.id == events.c.user_id)
    rows = connection.execute(found.order_by(events.c.id.desc()).limit(num))
    return [Event(row.at, row.name, row.kind, row.content) for row in rows]


def record(connection: Connection, now: float, kind: str, user_id: int | None = None, **content: Any) -> None:
    """kind: what was done, such as "campaign closed". user_id: by whom; None: by the program. content: to what."""
    connection.execute(insert(events).values(at=now, kind=kind, user_id=user_id, content=content))

"""The audit trail: who did what, and when. It is only added to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert

from accord.labels.schema import events


def record(connection: Connection, now: float, kind: str, user_id: int | None = None, **content: Any) -> None:
    """kind: what was done, such as "campaign closed". user_id: by whom; None: by the program. content: to what."""
    connection.execute(insert(events).values(at=now, kind=kind, user_id=user_id, content=content))

"""What people say of themselves, if they want to: languages that they read, groups that they count themselves among.

Preferences depend on who is asked. This serves one end, to see how far people agree across groups and within, and how
well a reward model predicts each; it never leaves the database, and nothing is said of fewer than `LEAST` people.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Final, Literal
from unicodedata import normalize

from pydantic import AfterValidator, Field
from sqlalchemy import Connection, select, update

from accord.labels import events
from accord.labels.schema import users
from accord.labels.users import still_here
from accord.strict import StrictModel

LEAST: Final = 3  # people of a group that is shown
MOST_WORD: Final = 40  # characters, in the spelling that is stored
Kind = Literal["group", "language"]


def _plain(word: str) -> str:
    """In one spelling, so that those who mean the same are counted together."""
    if not word.strip() or not word.isprintable():
        raise ValueError("is empty, or holds a control character")
    plain = normalize("NFC", " ".join(word.split()).casefold())
    if len(plain) > MOST_WORD:
        raise ValueError(f"has more than {MOST_WORD} characters")
    return plain


Word = Annotated[str, AfterValidator(_plain)]


class Declared(StrictModel):
    languages: tuple[Word, ...] = Field(default=(), max_length=20)
    groups: tuple[Word, ...] = Field(default=(), max_length=20)


def declare(connection: Connection, now: float, user_id: int, declared: Declared) -> None:
    """In place of what this person said before. The audit trail has that it was said, and not what."""
    still_here(connection, user_id)
    values = declared.model_dump(mode="json") if declared != Declared() else None
    connection.execute(update(users).where(users.c.id == user_id).values(declared=values))
    events.record(connection, now, "declared", user_id)


def declared_by(connection: Connection, user_id: int) -> Declared:
    values = connection.execute(select(users.c.declared).where(users.c.id == user_id)).scalar()
    return Declared.model_validate(values or {})


def groups_among(connection: Connection, user_ids: set[int]) -> dict[tuple[Kind, str], set[int]]:
    """Of these people, those who declared each group or language: in order, and of at least `LEAST` people."""
    found: dict[tuple[Kind, str], set[int]] = defaultdict(set)
    for row in connection.execute(select(users.c.id, users.c.declared).where(users.c.declared.is_not(None))):
        if row.id in user_ids:
            said = Declared.model_validate(row.declared)
            for word in said.groups:
                found["group", word].add(row.id)
            for word in said.languages:
                found["language", word].add(row.id)
    return {name: found[name] for name in sorted(found) if len(found[name]) >= LEAST}

"""What somebody wants gone: a person, or an item. A tombstone stays in its place, so that the history is whole.

Artifacts are immutable, and copies of the database are others' files: what holds it there is listed, for the owner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, delete, select, update

from accord.labels import events
from accord.labels.database import FILE
from accord.labels.refusals import Missing
from accord.labels.schema import (
    assignments,
    attacks,
    drafts,
    failures,
    invites,
    items,
    ratings,
    replies,
    sessions,
    sittings,
    submissions,
    turns,
    users,
)
from accord.labels.users import keep_an_owner
from accord.store.digests import MANIFEST


def erase_user(connection: Connection, now: float, name: str) -> str:
    """Takes a person's name and password, and all that they said and wrote; their items go to others. With what they
    attacked goes the time that it took, and what others wrote of it. Returns the pseudonym, which stays. Raises
    Missing, and Conflict for the last owner."""
    row = connection.execute(select(users).where(users.c.name == name)).first()
    if row is None:
        raise Missing(f"nobody is called {name!r}")
    if row.role == "owner" and row.active:
        keep_an_owner(connection, row.id)
    person = select(users.c.id).where(users.c.id == row.id)
    connection.execute(person.with_for_update())  # nothing of theirs is put to a policy again meanwhile
    of_user = select(assignments).where(assignments.c.user_id == row.id).order_by(assignments.c.item_id)
    own = connection.execute(of_user.with_for_update()).all()  # nobody sends while they are held
    for one in own:
        taken, answered = one.state in ("leased", "answered"), one.state == "answered"
        counts = {"num_taken": items.c.num_taken - int(taken), "num_answered": items.c.num_answered - int(answered)}
        connection.execute(update(items).where(items.c.id == one.item_id).values(**counts))
    _empty(connection, select(assignments.c.id).where(assignments.c.user_id == row.id))
    for item in connection.execute(select(items.c.id, items.c.content).where(items.c.content.is_not(None))).all():
        if item.content.get("author") == row.id:
            _erase_item(connection, item.id)
    sat = select(sittings.c.id).where(sittings.c.user_id == row.id)
    written = select(turns.c.id).where(turns.c.attack_id.in_(select(attacks.c.id).where(attacks.c.sitting_id.in_(sat))))
    answers = select(replies.c.id).where(replies.c.turn_id.in_(written))
    of_person = (ratings.c.user_id == row.id) | ratings.c.reply_id.in_(answers)
    connection.execute(update(ratings).where(of_person).values(comment=""))
    connection.execute(update(replies).where(replies.c.turn_id.in_(written)).values(text=None))
    connection.execute(update(turns).where(turns.c.id.in_(written)).values(text=None))
    connection.execute(update(sittings).where(sittings.c.user_id == row.id).values(active_seconds=0.0))
    connection.execute(delete(failures).where(failures.c.name == name))
    connection.execute(delete(sessions).where(sessions.c.user_id == row.id))
    connection.execute(delete(invites).where(invites.c.user_id == row.id))
    nothing = {"name": None, "password": None, "declared": None, "active": False}
    connection.execute(update(users).where(users.c.id == row.id).values(**nothing))
    events.record(connection, now, "user erased", row.id)
    pseudonym: str = row.pseudonym
    return pseudonym


def erase_item(connection: Connection, now: float, campaign_id: int, key: str) -> None:
    """Takes an item's texts and all that was said of it; nobody is asked about it any more. Raises Missing."""
    found = select(items.c.id).where(items.c.campaign_id == campaign_id, items.c.key == key)
    number = connection.execute(found).scalar()
    if number is None:
        raise Missing(f"the campaign has no item {key!r}")
    _erase_item(connection, number)
    events.record(connection, now, "item erased", campaign=campaign_id, key=key)


def _erase_item(connection: Connection, number: int) -> None:
    own = select(assignments.c.id).where(assignments.c.item_id == number)
    connection.execute(own.order_by(assignments.c.id).with_for_update())  # nobody sends while they are held
    connection.execute(update(items).where(items.c.id == number).values(content=None, num_taken=0, num_answered=0))
    _empty(connection, own)


def _empty(connection: Connection, own: Select[tuple[int]]) -> None:
    """Takes what was sent and begun in these assignments. own: their ids."""
    connection.execute(update(submissions).where(submissions.c.assignment_id.in_(own)).values(content=None))
    connection.execute(delete(drafts).where(drafts.c.assignment_id.in_(own)))
    connection.execute(update(assignments).where(assignments.c.id.in_(own)).values(state="skipped"))


def holders(store: Path, word: str) -> list[str]:
    """Where in a store a pseudonym, or the id of an item, still stands: artifacts of data that hold it, what was made
    from these, and copies of the database. Of each the path, and why."""
    manifests = {path.parent: _manifest(path) for path in sorted((store / "artifacts").glob(f"*/{MANIFEST}"))}
    holding = {folder for folder, manifest in manifests.items() if _holds(folder, manifest, word)}
    made_from = set(holding)
    keys = {manifests[folder].get("key") for folder in holding}
    while more := {f for f, m in manifests.items() if f not in made_from and keys & set(_parents(m))}:
        made_from |= more
        keys |= {manifests[folder].get("key") for folder in more}
    found = [f"{folder}: holds it" for folder in sorted(holding)]
    found += [f"{folder}: was made from it" for folder in sorted(made_from - holding)]
    return found + [f"{path}: an older database" for path in sorted(store.glob(f"{FILE}.*"))]


def _manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _parents(manifest: dict[str, Any]) -> Iterator[str]:
    for of_field in manifest.get("parents", {}).values():
        for parent in of_field:
            yield parent["key"]


def _holds(folder: Path, manifest: dict[str, Any], word: str) -> bool:
    quoted = json.dumps(word, ensure_ascii=False).encode()
    names = [name for name in manifest.get("files", {}) if name.endswith((".jsonl", ".json"))]
    return any(quoted in (folder / name).read_bytes() for name in names if (folder / name).is_file())

"""People: their roles, how they come in, and how they stay in.

Nobody is made without a link: an owner's invitation, or the one that `accord web` prints. Tokens are random, and the
database knows their digests alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from accord.labels import events
from accord.labels.database import inserted
from accord.labels.refusals import Conflict, Missing, Refused
from accord.labels.schema import failures, invites, sessions, users

Role = Literal["owner", "reviewer", "annotator", "red-teamer"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

INVITE_SECONDS: Final = 7 * 86_400.0
SESSION_SECONDS: Final = 14 * 86_400.0
# Failures in FAILURE_SECONDS after which somebody has to wait: of a name at an address; at an address, whatever names
# are tried; of a name, wherever. Nobody locks another one out from elsewhere with a few tries.
MOST_FAILURES: Final = 10
MOST_AT_ADDRESS: Final = 50
MOST_OF_NAME: Final = 200
FAILURE_SECONDS: Final = 900.0
LEAST_PASSWORD: Final = 10
MOST_KEPT: Final = 64  # characters of a name or an address


class TooMany(Refused):
    """Too many sign-ins failed."""


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    pseudonym: str
    role: Role


@dataclass(frozen=True, slots=True)
class Session:
    """token: for the person's cookie alone. csrf: for what the person's pages send."""

    token: str
    csrf: str
    user: User


@dataclass(frozen=True, slots=True)
class Invite:
    """user: who comes in by it; None: somebody new."""

    role: Role
    user: User | None


def create(connection: Connection, now: float, name: str, role: Role, password: str | None = None) -> User:
    """password: its argon2 hash. Raises Conflict when the name is taken."""
    if connection.execute(select(users.c.id).where(users.c.name == name)).first():
        raise Conflict(f"the name {name!r} is taken")
    pseudonym = f"a-{secrets.token_hex(4)}"
    values = {"name": name, "pseudonym": pseudonym, "role": role, "password": password, "active": True}
    number = inserted(connection, users, created=now, **values)
    events.record(connection, now, "user created", number, role=role)
    return User(number, name, pseudonym, role)


def every(connection: Connection) -> list[User]:
    """Those who may sign in."""
    rows = connection.execute(select(users).where(users.c.active).order_by(users.c.id))
    return [_user(row) for row in rows]


def names(connection: Connection) -> set[str]:
    """That are taken, also by those who may not come in any more."""
    return {name for name in connection.execute(select(users.c.name)).scalars() if name is not None}


def invite(
    connection: Connection,
    now: float,
    role: Role,
    *,
    user: User | None = None,
    by: int | None = None,
    seconds: float = INVITE_SECONDS,
) -> str:
    """The token of a link that lets somebody in once. by: the owner's id."""
    token = secrets.token_urlsafe(32)
    values = {"token": _digest(token), "role": role, "user_id": user.id if user else None}
    connection.execute(insert(invites).values(created=now, expires=now + seconds, **values))
    events.record(connection, now, "invitation made", by, role=role)
    return token


def invited(connection: Connection, now: float, token: str) -> Invite:
    """Raises Missing for a link that is used up, or none."""
    row = connection.execute(select(invites).where(invites.c.token == _digest(token))).first()
    if row is None or row.used is not None or row.expires < now:
        raise Missing("this link is used up or too old: ask for another one")
    user = None if row.user_id is None else _by_id(connection, row.user_id)
    return Invite(row.role, user)


def accept(connection: Connection, now: float, token: str, name: str = "", password: str | None = None) -> User:
    """Uses a link: the user whose it is, or a new one of this name and password. Raises Missing, Conflict."""
    found = invited(connection, now, token)
    used = update(invites).where(invites.c.token == _digest(token), invites.c.used.is_(None)).values(used=now)
    if connection.execute(used).rowcount != 1:
        raise Missing("this link is used up or too old: ask for another one")
    return found.user or create(connection, now, name, found.role, password)


def password_of(connection: Connection, now: float, name: str, address: str) -> tuple[User, str] | None:
    """Who may sign in by this name, and the hash of the password. It counts as a failure until `succeeded`, so that
    many tries at once are no more than their number. Raises TooMany."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        connection.execute(text("LOCK TABLE failures IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(delete(failures).where(failures.c.at < now - FAILURE_SECONDS))
    of_name, at_address = failures.c.name == name[:MOST_KEPT], failures.c.address == address[:MOST_KEPT]
    for which, most in ((of_name & at_address, MOST_FAILURES), (at_address, MOST_AT_ADDRESS), (of_name, MOST_OF_NAME)):
        if connection.execute(select(func.count()).select_from(failures).where(which)).scalar_one() >= most:
            raise TooMany("too many sign-ins failed: wait a quarter of an hour")
    connection.execute(insert(failures).values(name=name[:MOST_KEPT], address=address[:MOST_KEPT], at=now))
    row = connection.execute(select(users).where(users.c.name == name, users.c.active)).first()
    return None if row is None or row.password is None else (_user(row), row.password)


def succeeded(connection: Connection, name: str, address: str) -> None:
    """The password was right: none of the tries before, of this name at this address, counts any more."""
    of_name, at_address = failures.c.name == name[:MOST_KEPT], failures.c.address == address[:MOST_KEPT]
    connection.execute(delete(failures).where(of_name, at_address))


def set_password(connection: Connection, now: float, user: User, password: str) -> None:
    """password: its argon2 hash. The person's other sessions go on until `end_others`."""
    connection.execute(update(users).where(users.c.id == user.id).values(password=password))
    events.record(connection, now, "password changed", user.id)


def end_others(connection: Connection, user: User, token: str) -> None:
    """Ends all sessions of a person but one."""
    others = delete(sessions).where(sessions.c.user_id == user.id, sessions.c.token != _digest(token))
    connection.execute(others)


def link_for(connection: Connection, now: float, user_id: int, by: int) -> str:
    """The token of a link that lets somebody in once who has lost the password. Raises Missing."""
    user = _by_id(connection, user_id)
    return invite(connection, now, user.role, user=user, by=by)


def begin_session(connection: Connection, now: float, user: User) -> Session:
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    values = {"token": _digest(token), "user_id": user.id, "csrf": csrf, "created": now}
    connection.execute(delete(sessions).where(sessions.c.expires < now))
    connection.execute(insert(sessions).values(expires=now + SESSION_SECONDS, **values))
    events.record(connection, now, "signed in", user.id)
    return Session(token, csrf, user)


def session(connection: Connection, now: float, token: str) -> Session | None:
    """Of a cookie; None for one that is none, or of somebody who may not come in any more."""
    found = select(users, sessions.c.csrf).join(sessions, sessions.c.user_id == users.c.id)
    found = found.where(sessions.c.token == _digest(token), sessions.c.expires > now, users.c.active)
    row = connection.execute(found).first()
    return None if row is None else Session(token, row.csrf, _user(row))


def still_here(connection: Connection, user_id: int) -> None:
    """After somebody has waited for something: nobody erases them before this transaction ends. Raises Missing where
    that has happened."""
    found = select(users.c.name).where(users.c.id == user_id).with_for_update(read=True)
    if connection.execute(found).scalar() is None:
        raise Missing("you were erased meanwhile, and what you wrote is not kept")


def end_session(connection: Connection, token: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.token == _digest(token)))


def change(
    connection: Connection, now: float, user_id: int, *, by: int, role: Role | None = None, active: bool | None = None
) -> None:
    """Raises Missing; Conflict for the last owner, without whom nobody could be invited any more."""
    user = _by_id(connection, user_id)
    if user.role == "owner" and (active is False or role not in (None, "owner")):
        keep_an_owner(connection, user_id)
    values: dict[str, Any] = {"role": role, "active": active}
    values = {key: value for key, value in values.items() if value is not None}
    if not values:
        return
    connection.execute(update(users).where(users.c.id == user_id).values(**values))
    if active is False:
        connection.execute(delete(sessions).where(sessions.c.user_id == user_id))
    events.record(connection, now, "user changed", by, user=user_id, **values)


def keep_an_owner(connection: Connection, without: int) -> None:
    """Raises Conflict when nobody else is one. Two who go at once wait for each other."""
    owners = select(users.c.id).where(users.c.role == "owner", users.c.active).order_by(users.c.id)
    if not set(connection.execute(owners.with_for_update()).scalars()) - {without}:
        raise Conflict("the last owner stays one")


def _by_id(connection: Connection, user_id: int) -> User:
    row = connection.execute(select(users).where(users.c.id == user_id)).first()
    if row is None:
        raise Missing("there is no such user")
    return _user(row)


def _user(row: Row[Any]) -> User:
    return User(row.id, row.name or "", row.pseudonym, row.role)


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()

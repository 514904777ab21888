from __future__ import annotations

import pytest
from sqlalchemy import select

from accord.labels import users
from accord.labels.database import Database
from accord.labels.refusals import Conflict, Missing
from accord.labels.schema import events, invites, sessions
from accord.labels.users import (
    FAILURE_SECONDS,
    INVITE_SECONDS,
    MOST_AT_ADDRESS,
    MOST_FAILURES,
    MOST_OF_NAME,
    SESSION_SECONDS,
    TooMany,
)
from tests.labels.conftest import Clock
from tests.labels.people import user


def test_an_invitation_is_good_once_and_for_a_week(database: Database, clock: Clock) -> None:
    with database.writing() as connection:
        token = users.invite(connection, clock(), "annotator")
        old = users.invite(connection, clock(), "owner")
        ana = users.accept(connection, clock(), token, "ana", "hash")
    assert (ana.name, ana.role) == ("ana", "annotator")
    clock.now += INVITE_SECONDS + 1
    for used in (token, old, "guessed"):
        with database.writing() as connection, pytest.raises(Missing, match="used up or too old"):
            users.accept(connection, clock(), used, "ben", "hash")
    with database.reading() as connection:
        assert [one.name for one in users.every(connection)] == ["ana"]


def test_a_link_of_ones_own_lets_in_as_oneself(database: Database, clock: Clock) -> None:
    ana = user(database, role="owner")
    with database.writing() as connection:
        token = users.invite(connection, clock(), "owner", user=ana)
        assert users.accept(connection, clock(), token) == ana


def test_two_people_have_two_names_and_two_pseudonyms(database: Database) -> None:
    ana = user(database)
    with pytest.raises(Conflict, match="the name 'ana' is taken"):
        user(database)
    ben = user(database, "ben")
    assert ana.pseudonym != ben.pseudonym
    assert "ana" not in ana.pseudonym


def test_a_session_ends_by_itself_or_by_hand_or_with_its_person(database: Database, clock: Clock) -> None:
    owner, ana = user(database, "olga", "owner"), user(database)
    with database.writing() as connection:
        one, two, three = (users.begin_session(connection, clock(), ana) for _ in range(3))
        users.end_session(connection, one.token)
        assert users.session(connection, clock(), one.token) is None
        assert users.session(connection, clock(), two.token) == two
        assert users.session(connection, clock(), two.csrf) is None
        users.change(connection, clock(), ana.id, by=owner.id, active=False)
        assert users.session(connection, clock(), two.token) is None
        assert users.session(connection, clock(), three.token) is None
        last = users.begin_session(connection, clock(), owner)
        assert users.session(connection, clock() + SESSION_SECONDS + 1, last.token) is None


def test_the_last_owner_stays_one(database: Database, clock: Clock) -> None:
    olga, ana = user(database, "olga", "owner"), user(database)
    with database.writing() as connection:
        for change in ({"active": False}, {"role": "annotator"}):
            with pytest.raises(Conflict, match="the last owner"):
                users.change(connection, clock(), olga.id, by=olga.id, **change)  # type: ignore[arg-type]
        users.change(connection, clock(), ana.id, by=olga.id, role="owner")
        users.change(connection, clock(), olga.id, by=ana.id, role="annotator")
    with database.reading() as connection:
        assert {one.name: one.role for one in users.every(connection)} == {"olga": "annotator", "ana": "owner"}


def test_sign_ins_that_fail_make_a_name_wait_where_they_failed(database: Database, clock: Clock) -> None:
    user(database)
    with database.writing() as connection:
        for _ in range(MOST_FAILURES):
            assert users.password_of(connection, clock(), "ana", "here") is None  # without a password, links alone
        with pytest.raises(TooMany, match="wait a quarter of an hour"):
            users.password_of(connection, clock(), "ana", "here")
        users.password_of(connection, clock(), "ana", "elsewhere")  # where she is herself
        for _ in range(2 * MOST_FAILURES):  # of another name, which succeeds
            users.password_of(connection, clock(), "ben", "here")
            users.succeeded(connection, "ben", "here")
        clock.now += FAILURE_SECONDS + 1
        users.password_of(connection, clock(), "ana", "here")


def test_nobody_tries_many_names_at_one_address_or_one_name_at_many(database: Database, clock: Clock) -> None:
    with database.writing() as connection:
        for i in range(MOST_AT_ADDRESS):
            users.password_of(connection, clock(), f"name {i}", "here")
        with pytest.raises(TooMany):
            users.password_of(connection, clock(), "another", "here")
        for i in range(MOST_OF_NAME):
            users.password_of(connection, clock(), "ana", f"address {i}")
        with pytest.raises(TooMany):
            users.password_of(connection, clock(), "ana", "one more")


def test_no_token_stands_in_the_database(database: Database, clock: Clock) -> None:
    with database.writing() as connection:
        token = users.invite(connection, clock(), "annotator")
        session = users.begin_session(connection, clock(), users.accept(connection, clock(), token, "ana", "hash"))
        stored = connection.execute(select(invites.c.token)).scalars().all()
        stored += connection.execute(select(sessions.c.token)).scalars().all()
        trail = [str(row) for row in connection.execute(select(events)).all()]
    assert not {token, session.token} & set(stored)
    assert not any(token in line or session.token in line for line in trail)
    assert [line for line in trail if "invitation made" in line]

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from accord.labels import by_group, campaigns
from accord.labels.accuracy import accuracy, compared
from accord.labels.campaigns import Campaign
from accord.labels.database import Database
from accord.labels.declared import Declared, declare, declared_by, groups_among
from accord.labels.erase import erase_user
from accord.labels.schema import events, users
from accord.labels.users import User
from tests.labels.conftest import Clock
from tests.labels.people import campaign, comparison, user
from tests.labels.test_queue import answer, lease


def say(database: Database, who: User, of: Campaign, better: int | None, strength: str = "better") -> None:
    """Of every item of the campaign the same."""
    while (given := lease(database, who, of)) is not None:
        ranks = [1, 1] if better is None else [1 if response == better else 2 for response in given.order]
        content = {"ranks": ranks, "strength": None if better is None else strength}
        answer(database, who, given, f"{who.id} {given.comparison.id}", content)


def people(database: Database, **declared: Declared) -> dict[str, User]:
    found = {name: user(database, name) for name in declared}
    with database.writing() as connection:
        for name, said in declared.items():
            declare(connection, database.now(), found[name].id, said)
    return found


NURSE, COOK = Declared(groups=("nurse",), languages=("Polish",)), Declared(groups=("Cook",))


def six(database: Database, of: Campaign) -> None:
    """Three nurses prefer response 0, as the first cook does; the other two cooks prefer 1."""
    who = people(database, n1=NURSE, n2=NURSE, n3=NURSE, c1=COOK, c2=COOK, c3=COOK)
    for name, one in who.items():
        say(database, one, of, 1 if name in ("c2", "c3") else 0, "slightly" if name == "c1" else "better")


def test_agreement_within_groups_and_between_them_by_hand(database: Database) -> None:
    of = campaign(database, 2, overlap=6)
    six(database, of)
    with database.reading() as connection:
        found = by_group.by_group(connection, of.id)
    shares = {(one.first, one.second): (one.agree.num, one.agree.share.value) for one in found}
    assert shares == {
        ("cook", "cook"): (6, pytest.approx(1 / 3)),  # of three pairs of cooks one agrees, on two items
        ("cook", "nurse"): (18, pytest.approx(1 / 3)),
        ("nurse", "nurse"): (6, 1.0),
        ("polish", "polish"): (6, 1.0),
    }


def test_a_group_of_fewer_than_three_is_not_shown(database: Database) -> None:
    who = people(database, n1=NURSE, n2=NURSE, c1=COOK)
    with database.reading() as connection:
        assert groups_among(connection, {one.id for one in who.values()}) == {}
    of = campaign(database, 1, overlap=3)
    for one in who.values():
        say(database, one, of, 0)
    with database.reading() as connection:
        assert by_group.by_group(connection, of.id) == []


def test_nothing_is_said_of_fewer_than_three_who_are_in_one_group_alone(database: Database) -> None:
    """Two groups with two people in common: between them stood what one nurse and one cook think of one another. Two
    with the same people: what they think among themselves, as if there were others."""
    both = Declared(groups=("nurse", "cook"), languages=("Polish", "German"))
    who = people(database, n=NURSE, c=COOK, both1=both, both2=both)
    of = campaign(database, 2, overlap=4)
    for one in who.values():
        say(database, one, of, 0)
    with database.reading() as connection:
        found = [(one.first, one.second) for one in by_group.by_group(connection, of.id)]
    assert found == [("cook", "cook"), ("nurse", "nurse"), ("polish", "polish")]


def test_a_group_of_whom_two_answered_the_same_is_not_shown(database: Database) -> None:
    who = people(database, n1=NURSE, n2=NURSE, n3=NURSE)
    of = campaign(database, 3, overlap=2)
    for one in who.values():  # the first two answer all, and nothing is left for the third
        say(database, one, of, 0)
    with database.writing() as connection:
        campaigns.add_items(connection, database.now(), of.id, [comparison(9)])
    say(database, who["n3"], of, 0)
    with database.reading() as connection:
        assert by_group.by_group(connection, of.id) == []


def test_what_is_declared_is_one_spelling_can_be_taken_back_and_is_erased(database: Database, clock: Clock) -> None:
    (ana,) = people(database, ana=Declared(groups=("  Night   NURSE ",), languages=("Deutsch",))).values()
    with database.writing() as connection:
        assert declared_by(connection, ana.id) == Declared(groups=("night nurse",), languages=("deutsch",))
        trail = [row.content for row in connection.execute(select(events))]
        assert "nurse" not in str(trail)
        declare(connection, clock(), ana.id, Declared())
        assert connection.execute(select(users.c.declared)).scalar() is None
        declare(connection, clock(), ana.id, COOK)
        erase_user(connection, clock(), "ana")
        assert declared_by(connection, ana.id) == Declared()
    for words in ((" ",), ("a\nb",), ("x" * 41,), ("a",) * 21):
        with pytest.raises(ValidationError):
            Declared(groups=words)


def test_what_is_taken_can_be_read_again_in_whatever_script(database: Database) -> None:
    """Small letters can be longer than capitals; and one letter can be two characters."""
    with pytest.raises(ValidationError, match="more than 40 characters"):
        Declared(groups=("ß" * 40,))
    (ana,) = people(database, ana=Declared(groups=("ß" * 20, "jose\N{COMBINING ACUTE ACCENT}"))).values()
    with database.reading() as connection:
        assert declared_by(connection, ana.id).groups == ("s" * 40, "jos\N{LATIN SMALL LETTER E WITH ACUTE}")


def test_who_disagrees_with_the_others_is_believed_less(database: Database) -> None:
    assert by_group.can_believe()
    of = campaign(database, 6, overlap=4)
    who = {name: user(database, name) for name in ("ana", "ben", "cleo", "dan")}
    for name, one in who.items():
        while (given := lease(database, one, of)) is not None:
            right = int(given.comparison.id[1:]) % 2
            better = 1 - right if name == "dan" else right
            ranks = [1 if response == better else 2 for response in given.order]
            content = {"ranks": ranks, "strength": "better"}
            answer(database, one, given, f"{one.id} {given.comparison.id}", content)
    with database.reading() as connection:
        found = {one.pseudonym: one for one in by_group.believed(connection, of.id)}
    assert {one.num_rated for one in found.values()} == {6}
    assert found[who["dan"].pseudonym].accuracy < 0.1
    assert all(found[who[name].pseudonym].accuracy > 0.9 for name in ("ana", "ben", "cleo"))


def test_nobody_is_estimated_from_items_that_one_person_answered(database: Database) -> None:
    of = campaign(database, 2)
    say(database, user(database), of, 0)
    with database.reading() as connection:
        assert by_group.believed(connection, of.id) == []


def test_the_accuracy_of_a_reward_model_by_group_and_month_by_hand(database: Database, clock: Clock) -> None:
    """The scores prefer response 0 of the first item, and cannot tell those of the second apart."""
    of = campaign(database, 2, overlap=7)
    clock.now = 1_700_000_000.0  # 2023-11-14
    six(database, of)
    clock.now += 30 * 86_400
    say(database, user(database, "none"), of, None)  # ties have no right answer
    with database.reading() as connection:
        first, second = compared(connection, of.id)
        found = accuracy(connection, of.id, {first: [2.0, 1.0], second: [1.0, 1.0]})
    shares = {name: (of.num, of.share.value) for kind in found.values() for name, of in kind.items()}
    assert shares == {
        "all": (12, pytest.approx((4 + 3) / 12)),
        "2023-11": (12, pytest.approx(7 / 12)),
        "better": (10, pytest.approx((3 + 2.5) / 10)),
        "slightly": (2, 0.75),
        "nurse": (6, 0.75),
        "cook": (6, pytest.approx((1 + 1.5) / 6)),
        "polish": (6, 0.75),
    }


def test_the_accuracy_by_a_group_of_whom_two_put_something_in_an_order_is_not_shown(database: Database) -> None:
    who = people(database, n1=NURSE, n2=NURSE, n3=NURSE)
    of = campaign(database, 1, overlap=3)
    for name, one in who.items():
        say(database, one, of, None if name == "n3" else 0)
    with database.reading() as connection:
        found = accuracy(connection, of.id, {item: [1.0, 0.0] for item in compared(connection, of.id)})
    assert found["all"]["all"].num == 2
    assert found["group"] == found["language"] == {}

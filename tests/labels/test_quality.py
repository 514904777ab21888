from __future__ import annotations

import pytest

from accord.labels import quality
from accord.labels.database import Database
from tests.labels.people import campaign, user
from tests.labels.test_queue import answer, lease


def test_the_surer_somebody_is_the_more_others_agree(database: Database) -> None:
    """Three people on two items. Of the first all prefer response 0, two significantly and one slightly; of the second
    one prefers 0 slightly, one 1 slightly, one neither."""
    of = campaign(database, 2, overlap=3)
    said = {
        ("ana", "c0"): (0, "significantly"),
        ("ben", "c0"): (0, "significantly"),
        ("cleo", "c0"): (0, "slightly"),
        ("ana", "c1"): (0, "slightly"),
        ("ben", "c1"): (1, "slightly"),
        ("cleo", "c1"): (None, None),
    }
    for name in ("ana", "ben", "cleo"):
        who = user(database, name)
        while (given := lease(database, who, of)) is not None:
            better, strength = said[name, given.comparison.id]
            first = given.order[0]
            ranks = [1, 1] if better is None else ([1, 2] if better == first else [2, 1])
            answer(database, who, given, f"{name} {given.comparison.id}", {"ranks": ranks, "strength": strength})
    with database.reading() as connection:
        found = quality.by_strength(connection, of.id)
        agreement = quality.agreement(connection, of.id)
    assert list(found) == ["slightly", "significantly"]
    assert (found["significantly"].num, found["significantly"].share.value) == (4, 1.0)
    assert (found["slightly"].num, found["slightly"].share.value) == (6, pytest.approx(2 / 6))
    assert agreement.num_units == 2


def test_nothing_is_said_of_rankings_or_of_one_person(database: Database) -> None:
    of = campaign(database, 1, num_responses=3)
    ana = user(database)
    answer(database, ana, lease(database, ana, of), "a", {"ranks": [1, 2, 3]})
    with database.reading() as connection:
        assert quality.by_strength(connection, of.id) == {}
        assert quality.agreement(connection, of.id).num_units == 0

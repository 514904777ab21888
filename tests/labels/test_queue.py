from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import func, select

from accord.labels import campaigns, queue
from accord.labels.campaigns import Campaign
from accord.labels.database import Database
from accord.labels.erase import erase_item
from accord.labels.queue import Given, Receipt, Sent
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.schema import items, submissions
from accord.labels.snapshot import judged
from accord.labels.users import User
from tests.labels.conftest import Clock
from tests.labels.people import campaign, user

ANSWER = {"ranks": [1, 2], "strength": "better"}


def lease(database: Database, who: User, of: Campaign) -> Given | None:
    with database.writing() as connection:
        return queue.lease(connection, database.now(), who.id, campaigns.get(connection, of.id))


def send(database: Database, who: User, assignment: int, sent: Sent) -> Receipt:
    with database.writing() as connection:
        return queue.submit(connection, database.now(), who.id, assignment, sent)


def answer(database: Database, who: User, given: Given | None, key: str, content: object = ANSWER) -> Receipt:
    assert given is not None
    return send(database, who, given.assignment, Sent(key, "answer", content, 4.0))  # type: ignore[arg-type]


def undo(database: Database, who: User, of: Campaign, key: str) -> Receipt:
    with database.writing() as connection:
        return queue.undo(connection, database.now(), who.id, of, key)


def counts(database: Database) -> list[tuple[int, int]]:
    with database.reading() as connection:
        rows = connection.execute(select(items.c.num_taken, items.c.num_answered).order_by(items.c.position)).all()
        return [(row[0], row[1]) for row in rows]


def ids(database: Database, of: Campaign) -> dict[str, int]:
    with database.reading() as connection:
        return {one.id: len(said) for one, said in judged(connection, of.id)}


def test_a_person_keeps_an_item_until_it_is_answered_and_sees_it_once(database: Database) -> None:
    of, ana = campaign(database, 3), user(database)
    seen = []
    for key in "abc":
        first, again = lease(database, ana, of), lease(database, ana, of)
        assert first == again
        assert first is not None
        seen.append(first.comparison.id)
        assert sorted(first.order) == [0, 1]
        answer(database, ana, first, key)
    assert seen == ["c0", "c1", "c2"]
    assert lease(database, ana, of) is None
    assert ids(database, of) == {"c0": 1, "c1": 1, "c2": 1}


def test_two_people_never_have_one_item_beyond_its_overlap(database: Database) -> None:
    of = campaign(database, 2, overlap=2)
    people = [user(database, name) for name in ("ana", "ben", "cleo", "dan", "eve")]
    had = [lease(database, who, of) for who in people]
    # An item that somebody has begun is completed first.
    assert [given.comparison.id if given else None for given in had] == ["c0", "c0", "c1", "c1", None]
    assert counts(database) == [(2, 0), (2, 0)]


def test_orders_on_the_screen_differ_and_are_what_a_judgement_is_read_by(database: Database) -> None:
    of = campaign(database, 40, overlap=1)
    ana = user(database)
    orders = Counter()
    for number in range(40):
        given = lease(database, ana, of)
        assert given is not None
        orders[given.order] += 1
        answer(database, ana, given, f"k{number}", {"ranks": [1, 2], "strength": "slightly"})
        with database.reading() as connection:
            ((_, (said,)),) = [one for one in judged(connection, of.id) if one[0].id == given.comparison.id]
        assert said.grades[given.order[0]] == 2.0  # what stood first was called better
        assert said.grades[given.order[1]] == 0.0
    assert 6 <= orders[0, 1] <= 34  # drawn anew each time


def test_what_is_sent_twice_is_stored_once(database: Database) -> None:
    of, ana = campaign(database, 2), user(database)
    given = lease(database, ana, of)
    first = answer(database, ana, given, "a")
    again = answer(database, ana, given, "a", {"ranks": [2, 1], "strength": "better"})
    assert (again.submission, again.repeated, first.repeated) == (first.submission, True, False)
    assert counts(database) == [(1, 1), (0, 0)]
    second = lease(database, ana, of)
    assert second is not None
    with pytest.raises(Unfit, match="used for another item"):
        answer(database, ana, second, "a")


def test_an_answer_sent_anew_takes_the_place_of_the_first(database: Database) -> None:
    of, ana = campaign(database, 1), user(database)
    given = lease(database, ana, of)
    assert given is not None
    answer(database, ana, given, "a")
    answer(database, ana, given, "b", {"ranks": [1, 1]})
    with database.reading() as connection:
        ((_, (said,)),) = judged(connection, of.id)
        assert connection.execute(select(func.count()).select_from(submissions)).scalar() == 2
    assert said.grades == (0.0, 0.0)
    assert counts(database) == [(1, 1)]


def test_a_lease_that_ends_lets_somebody_else_and_a_late_answer_counts(database: Database, clock: Clock) -> None:
    of = campaign(database, 1, lease_minutes=10)
    ana, ben = user(database), user(database, "ben")
    first = lease(database, ana, of)
    assert lease(database, ben, of) is None
    clock.now += 601
    second = lease(database, ben, of)
    assert first is not None
    assert second is not None
    assert answer(database, ana, first, "a").late
    assert not answer(database, ben, second, "b").late
    assert ids(database, of) == {"c0": 2}
    assert counts(database) == [(2, 2)]


def test_who_comes_back_gets_the_item_that_expired_again_with_its_draft(database: Database, clock: Clock) -> None:
    of, ana = campaign(database, 2, lease_minutes=10), user(database)
    first = lease(database, ana, of)
    assert first is not None
    with database.writing() as connection:
        queue.keep_draft(connection, 1.0, ana.id, first.assignment, {"comment": "hm"})
    clock.now += 601
    again = lease(database, ana, of)
    assert again is not None
    assert (again.assignment, again.order, again.draft) == (first.assignment, first.order, {"comment": "hm"})
    assert not answer(database, ana, again, "a").late


def test_a_skipped_item_goes_to_others(database: Database) -> None:
    of = campaign(database, 1)
    ana, ben = user(database), user(database, "ben")
    given = lease(database, ana, of)
    assert given is not None
    send(database, ana, given.assignment, Sent("a", "skip", {"reason": "not a language I read"}))
    assert lease(database, ana, of) is None
    assert lease(database, ben, of) is not None
    assert ids(database, of) == {"c0": 0}


def test_undo_gives_the_last_item_back_with_its_answer(database: Database, clock: Clock) -> None:
    of, ana = campaign(database, 3), user(database)
    with pytest.raises(Conflict, match="nothing to take back"):
        undo(database, ana, of, "u0")
    first = lease(database, ana, of)
    answer(database, ana, first, "a")
    second = lease(database, ana, of)
    assert second is not None
    clock.now += 1
    undo(database, ana, of, "u1")
    assert undo(database, ana, of, "u1").repeated
    assert ids(database, of) == {"c0": 0, "c1": 0, "c2": 0}
    back = lease(database, ana, of)
    assert back is not None
    assert first is not None
    assert (back.assignment, back.earlier) == (first.assignment, {**ANSWER, "active_seconds": 4.0})
    answer(database, ana, back, "b", {"ranks": [2, 1], "strength": "slightly"})
    assert lease(database, ana, of) == second
    assert ids(database, of) == {"c0": 1, "c1": 0, "c2": 0}
    assert counts(database) == [(1, 1), (1, 0), (0, 0)]


def test_what_is_anothers_or_unfit_or_closed_is_refused_with_the_reason(database: Database) -> None:
    of = campaign(database, 2)
    ana, ben = user(database), user(database, "ben")
    given = lease(database, ana, of)
    assert given is not None
    with pytest.raises(Missing, match="was not given to you"):
        answer(database, ben, given, "a")
    with pytest.raises(Missing, match="was not given to you"):
        send(database, ana, 999, Sent("a", "skip", None))
    with pytest.raises(Unfit, match="3 ranks were sent for 2"):
        answer(database, ana, given, "a", {"ranks": [1, 2, 3]})
    with pytest.raises(Conflict, match="nothing to take back"):
        send(database, ana, given.assignment, Sent("a", "withdrawal", None))
    with database.writing() as connection:
        campaigns.set_open(connection, 1.0, of.id, False)
    with pytest.raises(Conflict, match="closed"):
        answer(database, ana, given, "a")
    assert lease(database, ben, of) is None
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(submissions)).scalar() == 0


def test_a_campaign_asks_for_as_many_answers_as_are_wanted(database: Database) -> None:
    of, ana = campaign(database, 5, num_answers=2), user(database)
    for key in "ab":
        answer(database, ana, lease(database, ana, of), key)
    assert lease(database, ana, of) is None
    with database.reading() as connection:
        found = campaigns.progress(connection, of)
    assert (found.num_items, found.num_answers, found.num_wanted, found.num_annotators) == (5, 2, 2, 1)
    assert found.complete


def test_an_answer_too_many_to_one_item_is_none_to_another(database: Database, clock: Clock) -> None:
    """Two people answer the first item, one of them late; nobody has answered the second."""
    of, ana, ben = campaign(database, 2, lease_minutes=1), user(database, "ana"), user(database, "ben")
    late = lease(database, ana, of)
    clock.now += 61
    answer(database, ben, lease(database, ben, of), "b")
    answer(database, ana, late, "a")
    assert ids(database, of) == {"c0": 2, "c1": 0}
    with database.reading() as connection:
        found = campaigns.progress(connection, of)
    assert (found.num_answers, found.num_wanted, found.complete) == (1, 2, False)


def test_gold_items_come_in_their_turn_and_are_no_labels(database: Database) -> None:
    of, ana = campaign(database, 9, gold=3, gold_every=3), user(database)
    seen = []
    while (given := lease(database, ana, of)) is not None:
        seen.append(given.comparison.id in ("c0", "c1", "c2"))
        answer(database, ana, given, f"k{len(seen)}")
    assert seen == [False, False, True] * 3
    assert sorted(ids(database, of)) == ["c3", "c4", "c5", "c6", "c7", "c8"]
    with database.reading() as connection:
        assert campaigns.progress(connection, of).num_answers == 6


def test_items_are_added_once_and_never_change(database: Database) -> None:
    from tests.labels.people import comparison

    of = campaign(database, 2)
    with database.writing() as connection:
        assert campaigns.add_items(connection, 1.0, of.id, [comparison(1), comparison(2)]) == 1
    with database.writing() as connection, pytest.raises(Conflict, match="another item with the id 'c1'"):
        campaigns.add_items(connection, 1.0, of.id, [comparison(1, 3)])
    assert list(ids(database, of)) == ["c0", "c1", "c2"]


def test_guidelines_have_versions_which_answers_name(database: Database) -> None:
    of, ana = campaign(database, 2), user(database)
    answer(database, ana, lease(database, ana, of), "a")
    with database.writing() as connection:
        assert campaigns.set_guideline(connection, 1.0, of.id, "Be fair.") == 1
        assert campaigns.set_guideline(connection, 1.0, of.id, "Be fairer.") == 2
        found = campaigns.guideline(connection, of.id)
    assert found is not None
    assert (found.version, found.text) == (2, "Be fairer.")
    answer(database, ana, lease(database, ana, of), "b")
    with database.reading() as connection:
        rows = connection.execute(select(submissions.c.guideline_id).order_by(submissions.c.id)).scalars().all()
    assert rows == [1, 2]


def test_an_erased_item_cannot_be_taken_back_and_stops_nobody(database: Database) -> None:
    of, ana = campaign(database, 2), user(database)
    first = lease(database, ana, of)
    answer(database, ana, first, "a")
    with database.writing() as connection:
        erase_item(connection, 1.0, of.id, "c0")
    with pytest.raises(Conflict, match="nothing to take back"):
        undo(database, ana, of, "u")
    assert first is not None
    with pytest.raises(Conflict, match="was erased"):
        answer(database, ana, first, "b")
    given = lease(database, ana, of)
    assert given is not None
    assert given.comparison.id == "c1"


def test_an_item_that_was_answered_is_not_given_again(database: Database) -> None:
    of, ana = campaign(database, 1), user(database)

    def give() -> Given:
        with database.writing() as connection:
            return queue.give(connection, database.now(), ana.id, of, "c0")

    first = give()
    assert give() == first
    answer(database, ana, first, "a")
    with pytest.raises(Conflict, match="answered or skipped this already"):
        give()
    assert counts(database) == [(1, 1)]


def test_a_closed_campaign_hands_out_nothing_also_of_what_is_held(database: Database) -> None:
    of, ana = campaign(database, 1), user(database)
    assert lease(database, ana, of) is not None
    with database.writing() as connection:
        campaigns.set_open(connection, 1.0, of.id, False)
    assert lease(database, ana, of) is None

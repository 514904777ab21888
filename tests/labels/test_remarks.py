from __future__ import annotations

import pytest

from accord.labels import campaigns, live, queue
from accord.labels.database import Database
from accord.labels.erase import erase_user
from accord.labels.live import by_policy
from accord.labels.quality import of_people, queue_state
from accord.labels.queue import Sent
from accord.labels.refusals import Missing
from accord.labels.remarks import Remark, remarks
from accord.types import Message
from tests.labels.conftest import Clock
from tests.labels.people import campaign, user
from tests.labels.test_queue import ANSWER, answer, lease, send, undo


def test_flags_comments_and_reasons_are_read_back(database: Database, clock: Clock) -> None:
    of, ana = campaign(database, 3, flags=("personal data",)), user(database)
    content = {**ANSWER, "flags": ["personal data"], "comment": "a <name>"}
    answer(database, ana, lease(database, ana, of), "one", content)
    second = lease(database, ana, of)
    assert second is not None
    send(database, ana, second.assignment, Sent("two", "skip", {"reason": "in a dialect"}))
    answer(database, ana, lease(database, ana, of), "three", {**ANSWER, "comment": "taken back"})
    undo(database, ana, of, "four")
    with database.reading() as connection:
        found = remarks(connection, of.id)
        assert queue_state(connection, of.id, 1).num_skipped == 1
    who = ana.pseudonym
    assert found == [
        Remark("skip", "in a dialect", second.comparison.id, who, clock()),
        Remark("flag", "personal data", "c0", who, clock()),
        Remark("comment", "a <name>", "c0", who, clock()),
    ]
    with database.writing() as connection:
        erase_user(connection, clock(), "ana")
        assert remarks(connection, of.id) == []
        assert queue_state(connection, of.id, 1).num_skipped == 0  # what was erased is no skip
        assert of_people(connection, of.id) == []


def test_who_wins_where_policies_answer_by_hand(database: Database, clock: Clock) -> None:
    """Large wins twice, and ties once; where one policy answered twice nothing is compared."""
    of, ana = campaign(database, 0, live=True), user(database)
    for i, (policies, better) in enumerate(
        [
            (("small at 0.7", "large at 1"), 1),
            (("large at 1.3", "small at 1"), 0),
            (("small at 0.7", "large at 1"), None),
            (("small at 0.7", "small at 1"), 0),
        ]
    ):
        with database.writing() as connection:
            asked = (Message("user", f"{i}?"),)
            given = live.add(connection, clock(), ana.id, of, f"key {i}", asked, ["a", "b"], policies)
        ranks = [1 if better in (None, response) else 2 for response in given.order]
        answer(database, ana, given, f"{i}", {"ranks": ranks, "strength": None if better is None else "better"})
    with database.reading() as connection:
        found = by_policy(connection, of.id)
    assert [(name, share.num, share.share.value) for name, share in found] == [
        ("large", 3, pytest.approx(2.5 / 3)),
        ("small", 3, pytest.approx(0.5 / 3)),
    ]


def test_what_comes_after_an_erasure_is_not_kept(database: Database, clock: Clock) -> None:
    of, ana = campaign(database, 1), user(database)
    given = lease(database, ana, of)
    assert given is not None
    with database.writing() as connection:
        erase_user(connection, clock(), "ana")
    with pytest.raises(Missing, match="you were erased"):
        answer(database, ana, given, "late")
    with database.writing() as connection, pytest.raises(Missing, match="you were erased"):
        queue.keep_draft(connection, clock(), ana.id, given.assignment, {})


def test_known_items_are_not_asked_once_all_answers_are_in(database: Database) -> None:
    of, ana = campaign(database, 4, gold=3, num_answers=1, gold_every=2), user(database)
    seen = []
    while (given := lease(database, ana, of)) is not None:
        seen.append(given.comparison.id)
        answer(database, ana, given, given.comparison.id)
    assert seen == ["c3"]
    with database.reading() as connection:
        assert campaigns.progress(connection, of).complete

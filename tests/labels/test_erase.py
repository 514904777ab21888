from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from accord.algorithms.rates import poisson_rate
from accord.labels import campaigns, live, red_team
from accord.labels.campaigns import Settings
from accord.labels.database import Database
from accord.labels.erase import erase_item, erase_user, holders
from accord.labels.red_team_results import results
from accord.labels.refusals import Conflict, Missing
from accord.labels.schema import drafts, events, failures, items, ratings, replies, submissions, turns, users
from accord.labels.snapshot import judged
from accord.labels.users import password_of
from accord.types import Message
from tests.labels.people import campaign, user
from tests.labels.test_queue import answer, counts, ids, lease
from tests.labels.test_red_team import Team, team


def everything(database: Database) -> str:
    with database.reading() as connection:
        return json.dumps(
            [[str(row) for row in connection.execute(select(t))] for t in (users, items, submissions, drafts, events)]
        )


def test_a_person_leaves_a_tombstone_and_their_items_go_to_others(database: Database) -> None:
    of = campaign(database, 2)
    ana, ben = user(database, "ana"), user(database, "ben")
    answer(database, ana, lease(database, ana, of), "a", {"ranks": [1, 1], "comment": "my secret"})
    assert lease(database, ana, of) is not None
    with database.writing() as connection:
        assert erase_user(connection, 5.0, "ana") == ana.pseudonym
    assert "my secret" not in everything(database)
    assert "'ana'" not in everything(database)
    assert ids(database, of) == {"c0": 0, "c1": 0}
    assert counts(database) == [(0, 0), (0, 0)]
    with database.reading() as connection:
        assert len(connection.execute(select(submissions)).all()) == 1  # the history is whole
    for key in "bc":
        answer(database, ben, lease(database, ben, of), key)
    assert ids(database, of) == {"c0": 1, "c1": 1}
    with database.writing() as connection, pytest.raises(Missing, match="nobody is called 'ana'"):
        erase_user(connection, 5.0, "ana")


def test_an_item_leaves_a_tombstone(database: Database) -> None:
    of, ana = campaign(database, 2), user(database)
    answer(database, ana, lease(database, ana, of), "a", {"ranks": [1, 1], "comment": "about that"})
    with database.writing() as connection:
        erase_item(connection, 5.0, of.id, "c0")
        assert [one.id for one, _ in judged(connection, of.id)] == ["c1"]
        with pytest.raises(Missing, match="no item 'c9'"):
            erase_item(connection, 5.0, of.id, "c9")
    assert "Question 0?" not in everything(database)
    assert "about that" not in everything(database)
    given = lease(database, ana, of)
    assert given is not None
    assert given.comparison.id == "c1"


def test_what_was_made_from_it_is_listed(tmp_path: Path) -> None:
    def artifact(name: str, parents: list[str], text: str = "") -> None:
        folder = tmp_path / "artifacts" / name
        folder.mkdir(parents=True)
        (folder / "train.jsonl").write_text(text)
        links = {"data": [{"key": key} for key in parents]}
        (folder / "manifest.json").write_text(json.dumps({"key": name, "parents": links, "files": {"train.jsonl": {}}}))

    artifact("collect", [], '{"annotator": "a-12345678"}')
    artifact("other", [], '{"annotator": "a-123456789"}')
    artifact("reward", ["collect"])
    artifact("ppo", ["reward", "other"])
    artifact("sft", ["other"])
    (tmp_path / "labels.db.0001").write_text("")
    found = holders(tmp_path, "a-12345678")
    assert [line.replace(str(tmp_path), "") for line in found] == [
        "/artifacts/collect: holds it",
        "/artifacts/ppo: was made from it",
        "/artifacts/reward: was made from it",
        "/labels.db.0001: an older database",
    ]


def test_what_a_person_wrote_goes_with_them_and_the_last_owner_stays(database: Database) -> None:
    team_of = campaign(database, 0, red_team=True)
    rob = Team(database, team_of, user(database, "rob", "red-teamer"))
    reply = rob.turn(rob.attack(), "a secret attempt").replies[0].id
    with database.writing() as connection:
        rating = red_team.Rating("violation", 3, "a secret comment")
        red_team.rate(connection, 1.0, rob.who.id, reply, "r", "own", rating)
        talk = campaigns.create(connection, 1.0, "talk", Settings(live=True))
        messages = [Message("user", "a secret question")]
        live.add(connection, 1.0, rob.who.id, talk, "k", messages, ["one", "two"], ["p", "q"])
        erase_user(connection, 5.0, "rob")
        tables = (turns, replies, ratings, items)
        left = json.dumps([[str(row) for row in connection.execute(select(table))] for table in tables])
    assert "secret" not in left
    user(database, "olga", "owner")
    with database.writing() as connection, pytest.raises(Conflict, match="the last owner"):
        erase_user(connection, 5.0, "olga")


def test_the_time_of_somebody_who_is_gone_makes_no_rate_smaller(database: Database) -> None:
    """Two people, half an hour and one violation each: two an hour, and so it stays with one of them."""
    rob = team(database)
    sue = team(database, "sue", rob.of)
    for one in (rob, sue):
        one.rate(one.turn(one.attack(), "try").replies[0].id, "violation")
    with database.writing() as connection:
        assert results(connection, rob.of.id).gamma == poisson_rate(2, 1.0)
        erase_user(connection, 5.0, "sue")
        assert results(connection, rob.of.id).gamma == poisson_rate(1, 0.5)


def test_what_others_wrote_of_an_attack_goes_with_it(database: Database) -> None:
    rob = team(database)
    sue = team(database, "sue", rob.of)
    reply = rob.turn(rob.attack(), "try").replies[0].id
    rob.rate(reply, "violation")
    with database.writing() as connection:
        rating = red_team.Rating("compliant", None, "he wrote of his secret, and it is none")
        red_team.rate(connection, 1.0, sue.who.id, reply, "s", "second", rating)
        erase_user(connection, 5.0, "rob")
        assert [row.comment for row in connection.execute(select(ratings))] == ["", ""]


def test_a_name_that_somebody_mistyped_a_password_for_is_forgotten_with_them(database: Database) -> None:
    user(database, "ana")
    with database.writing() as connection:
        password_of(connection, database.now(), "ana", "192.0.2.1")
        erase_user(connection, 5.0, "ana")
        assert connection.execute(select(failures)).all() == []

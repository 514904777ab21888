"""`accord labels replay` and `accord labels mitigated`, with policies behind an endpoint of the test's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from accord.cli import app
from accord.cli import replay as command
from accord.labels import campaigns, replay, users
from accord.labels.campaigns import CATEGORIES, VECTORS
from accord.labels.database import Database
from accord.labels.migrate import open_labels
from accord.labels.schema import replies, turns
from accord.web.policies import Policies
from tests.fixtures.http_server import Answer, Asked, serving
from tests.labels.people import campaign
from tests.labels.test_red_team import Team
from tests.labels.test_replay import given

REPLAY = ("replay", "round 1", "--into", "round 2", "--policy", "new")


def accord(*arguments: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["labels", *arguments], catch_exceptions=False)
    assert found.exit_code == status, found.output
    return " ".join(found.output.split())


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """With a first round, in which two prompts broke a policy, and one did not."""
    monkeypatch.chdir(tmp_path)
    database = open_labels(Path("accord-store/labels.db"))
    with database.writing() as connection:
        who = users.create(connection, 1.0, "rob", "red-teamer")
    rob = Team(database, campaign(database, 0, name="round 1", red_team=True), who)
    attack = rob.attack(CATEGORIES[0], VECTORS[0])
    for text, outcome in (("one", "violation"), ("two", "compliant"), ("three", "violation")):
        rob.rate(rob.turn(attack, text, "old").replies[0].id, outcome)  # type: ignore[arg-type]
    yield database
    database.close()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    def answer(body: Any, _: int) -> Answer:
        if body["messages"][-1]["content"] == "too long":
            return 400, {"error": "it is too long"}, {}
        text = f"{body['model']} was told {len(body['messages'])}"
        return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}

    with serving(answer) as asked:

        @contextmanager
        def served(sources: Sequence[str], store: str) -> Iterator[Policies]:
            yield Policies(asked.url, tuple(sources))

        monkeypatch.setattr(command, "served", served)
        yield asked


def test_what_broke_a_policy_is_put_to_others_and_counted(database: Database, endpoint: Asked) -> None:
    said = accord(*REPLAY, "--policy", "newer")
    assert "4 replies are new in 'round 2'; people find them among the second ratings" in said
    assert "4/4 replies" in said
    assert {(one["temperature"], one["seed"]) for one in endpoint.bodies} == {(0.0, 0)}
    told = sorted((one["model"], one["messages"][-1]["content"], len(one["messages"])) for one in endpoint.bodies)
    assert told == [("new", "one", 1), ("new", "three", 5), ("newer", "one", 1), ("newer", "three", 5)]
    lea = rater(database)
    while (reply := given(database, lea.of, lea.who.id)) is not None:
        lea.rate(reply, "violation" if text_of(database, reply) == "newer was told 5" else "safe-refusal", "second")
    said = accord("mitigated", "round 2")
    assert "new, all attacks: 100% (34% to 100%) of 2 are no violation any more (0 without a rating, 0 disp" in said
    assert "newer, all attacks: 50% (9% to 91%) of 2 are no violation any more" in said
    assert "newer, held-out attacks: nothing is decided of 0" in said


def test_an_interrupted_replay_goes_on(database: Database, endpoint: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped when the second of four replies is stored: that one is asked for again, the first is not."""
    real, added = replay.add, []

    def stopped(*arguments: Any) -> None:
        added.append(arguments)
        if len(added) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(replay, "add", stopped)
    assert "the same command goes on" in accord(*REPLAY, "--policy", "newer", status=130)
    assert len(endpoint.bodies) == 2
    assert "3 replies are new in 'round 2', and 1 were there" in accord(*REPLAY, "--policy", "newer")
    assert len(endpoint.bodies) == 5
    assert "0 replies are new in 'round 2', and 4 were there" in accord(*REPLAY, "--policy", "newer")
    assert len(endpoint.bodies) == 5
    assert accord("mitigated", "round 2").count("of 2 (2 without a rating") == 4  # of two policies: others, and all


def test_a_prompt_that_a_policy_does_not_take_is_left_out_and_said(database: Database, endpoint: Asked) -> None:
    with database.writing() as connection:
        connection.execute(update(turns).where(turns.c.text == "three").values(text="too long"))
    said = accord(*REPLAY)
    assert "left out: round 1-3, new: the endpoint answered 400 Bad Request" in said
    assert "1 replies are new in 'round 2'" in said
    assert "0 replies are new in 'round 2', and 1 were there" in accord(*REPLAY)


def test_what_is_wrong_is_said_before_a_policy_is_asked(database: Database, endpoint: Asked) -> None:
    campaign(database, 1)
    rest = ("--policy", "new")
    assert "Did you mean 'round 1'" in accord("replay", "round 3", "--into", "round 2", *rest, status=2)
    assert "'film' is no red-team campaign" in accord("replay", "film", "--into", "round 2", *rest, status=2)
    assert "'film' is no red-team campaign" in accord("replay", "round 1", "--into", "film", *rest, status=2)
    assert "another campaign than their own" in accord("replay", "round 1", "--into", "round 1", *rest, status=2)
    after = campaign(database, 0, name="round 2", red_team=True)
    assert "is held to be a violation yet" in accord("replay", "round 2", "--into", "round 1", *rest, status=2)
    assert "nothing was put to a policy again in 'round 2'" in accord("mitigated", "round 2", status=2)
    with database.writing() as connection:
        campaigns.set_open(connection, 1.0, after.id, False)
    assert "'round 2' is closed" in accord(*REPLAY, status=2)
    assert endpoint.bodies == []


def rater(database: Database) -> Team:
    with database.writing() as connection:
        of, lea = campaigns.named(connection, "round 2"), users.create(connection, 1.0, "lea", "reviewer")
    assert of is not None
    return Team(database, of, lea, 0)


def text_of(database: Database, reply: int) -> str:
    with database.reading() as connection:
        return str(connection.execute(select(replies.c.text).where(replies.c.id == reply)).scalar_one())

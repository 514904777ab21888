from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from accord.labels import replay
from accord.labels.campaigns import CATEGORIES, VECTORS
from accord.labels.database import Database
from accord.labels.erase import erase_user
from accord.labels.schema import items, turns
from accord.types import Message
from accord.web.guard import Site
from accord.web.policies import Written
from tests.labels.people import campaign
from tests.web.conftest import Browser

Visit = Callable[..., Browser]


class Echo:
    """Policies that repeat how much they were told."""

    def answers(self, messages: list[Message], num: int = 2) -> list[Written]:
        return [Written(f"{len(messages)}: {messages[-1].content}", by) for by in ("old", "new")[:num]]


@pytest.fixture
def rob(database: Database, visit: Visit) -> Browser:
    campaign(database, 0, red_team=True, pairs=True)
    rob = visit("rob", "red-teamer")
    rob.app.state.site = Site(database, policies=Echo())  # type: ignore[arg-type, attr-defined]
    return rob


def post(browser: Browser, path: str, **body: Any) -> Any:
    return browser.ask("POST", path, {"key": str(uuid.uuid4()), **body})


def begun(browser: Browser) -> tuple[int, int]:
    """A sitting and an attack."""
    sitting = post(browser, "/api/campaigns/1/sittings").json()["sitting"]
    path = f"/api/campaigns/1/sittings/{sitting}/attacks"
    return sitting, post(browser, path, category=CATEGORIES[1], vector=VECTORS[2]).json()["attack"]


def test_from_a_sitting_to_the_owners_numbers(rob: Browser, visit: Visit, database: Database) -> None:
    assert "Attack" in rob.get("/").text
    sitting, attack = begun(rob)
    later = database.now() + 3600
    database.now = lambda: later  # type: ignore[method-assign]
    assert rob.ask("PUT", f"/api/sittings/{sitting}/clock", {"active_seconds": 1800}).status_code == 204
    path = f"/api/attacks/{attack}/turns"
    turn = post(rob, path, text="How?").json()["turn"]
    assert [one["text"] for one in turn["replies"]] == ["1: How?", "1: How?"]
    assert {tuple(sorted(one)) for one in turn["replies"]} == {("comment", "outcome", "reply", "severity", "text")}
    second = post(rob, path, text="And then?", goes_on=1).json()["turn"]
    assert second["replies"][0]["text"] == "3: And then?"
    for number, reply in enumerate([*turn["replies"], *second["replies"]]):
        rating = {"outcome": "violation", "severity": 4} if number == 0 else {"outcome": "safe-refusal"}
        assert post(rob, f"/api/replies/{reply['reply']}/rating", **rating).status_code == 204
    told = rob.get(f"/api/attacks/{attack}/turns").json()["turns"]
    assert [one["replies"][0]["outcome"] for one in told] == ["violation", "safe-refusal"]
    text = " ".join(visit("olga", "owner").get("/campaigns/1").text.split())
    assert "2 rated prompts in 0.50 active hours" in text
    assert "<strong>2.00 (0.05 to 11.14)</strong>, 1 of 2 prompts" in text
    assert '<td class="hot">1 of 2</td>' in text


def test_a_second_rater_sees_the_conversation_and_no_rating(rob: Browser, visit: Visit) -> None:
    _, attack = begun(rob)
    turn = post(rob, f"/api/attacks/{attack}/turns", text="How?").json()["turn"]
    reply = turn["replies"][0]["reply"]
    post(rob, f"/api/replies/{reply}/rating", outcome="violation", severity=4)
    sue, lea = visit("sue", "red-teamer"), visit("lea", "reviewer")
    found = sue.ask("POST", "/api/campaigns/1/second").json()
    assert (found["reply"], found["category"]) == (reply, CATEGORIES[1])
    assert found["turns"][0]["replies"][0]["outcome"] is None
    assert post(sue, f"/api/replies/{reply}/second", outcome="compliant").status_code == 204
    assert sue.ask("POST", "/api/campaigns/1/second").json() == {"reply": None}
    asked = lea.ask("POST", "/api/campaigns/1/disputed").json()
    assert [(one["outcome"], one["severity"]) for one in asked["said"]] == [("violation", 4), ("compliant", None)]
    assert "1 on which two people disagree" in " ".join(lea.get("/campaigns/1").text.split())
    assert post(sue, f"/api/replies/{reply}/final", outcome="compliant").status_code == 403
    assert post(lea, f"/api/replies/{reply}/final", outcome="compliant").status_code == 204
    assert "0 on which two people disagree" in " ".join(lea.get("/campaigns/1").text.split())


def test_what_does_not_fit_is_refused_with_the_reason(rob: Browser, database: Database) -> None:
    sitting, attack = begun(rob)
    path = f"/api/attacks/{attack}/turns"
    wrong = post(rob, f"/api/campaigns/1/sittings/{sitting}/attacks", category="x", vector="y")
    assert (wrong.status_code, wrong.json()["error"]) == (422, "choose a category and a vector of this campaign")
    assert "take it out" in post(rob, path, text="Mail ann.smith@mail.org.").json()["error"]
    assert "cannot be stored: take it out" in post(rob, path, text="a\0b").json()["error"]
    assert post(rob, path, text="x", goes_on=1).json()["turn"]["replies"]
    reply = rob.get(f"/api/attacks/{attack}/turns").json()["turns"][0]["replies"][0]["reply"]
    assert post(rob, f"/api/replies/{reply}/rating", outcome="violation").status_code == 422
    assert post(rob, f"/api/replies/{reply}/rating", outcome="fine").status_code == 422
    assert post(rob, f"/api/replies/{reply}/rating", outcome="compliant", comment="\0").status_code == 422
    rob.app.state.site = Site(database)  # type: ignore[attr-defined]
    assert "start `accord web` with --policy" in post(rob, path, text="Again?").json()["error"]


def test_sent_again_asks_nobody_twice(rob: Browser) -> None:
    _, attack = begun(rob)
    body = {"key": str(uuid.uuid4()), "text": "How?"}
    first = rob.ask("POST", f"/api/attacks/{attack}/turns", body).json()
    assert rob.ask("POST", f"/api/attacks/{attack}/turns", body).json() == first
    assert len(rob.get(f"/api/attacks/{attack}/turns").json()["turns"]) == 1


def test_what_is_put_to_a_policy_again_is_rated_blindly_and_counted(
    rob: Browser, visit: Visit, database: Database
) -> None:
    _, attack = begun(rob)
    for text, outcome in (("How?", "compliant"), ("And then?", "violation")):
        turn = post(rob, f"/api/attacks/{attack}/turns", text=text).json()["turn"]
        severity = {"severity": 4} if outcome == "violation" else {}
        post(rob, f"/api/replies/{turn['replies'][0]['reply']}/rating", outcome=outcome, **severity)
    after = campaign(database, 0, name="next", red_team=True)
    with database.writing() as connection:
        replay.add(connection, 1.0, after.id, turn["turn"], "secret-policy", "No.")
    sue, lea = visit("sue", "red-teamer"), visit("lea", "reviewer")
    page = sue.get(f"/campaigns/{after.id}/second").text
    shown = sue.ask("POST", f"/api/campaigns/{after.id}/second")
    for text in (page, shown.text):
        assert "secret-policy" not in text
    found = shown.json()
    assert [one["text"] for one in found["turns"]] == ["How?", "And then?"]
    (reply,) = found["turns"][-1]["replies"]
    assert (reply["reply"], reply["text"], reply["outcome"]) == (found["reply"], "No.", None)
    for one in found["turns"][0]["replies"]:
        assert post(sue, f"/api/replies/{one['reply']}/second", outcome="compliant").status_code == 404
    assert post(sue, f"/api/replies/{reply['reply']}/second", outcome="compliant").status_code == 204
    assert sue.ask("POST", f"/api/campaigns/{after.id}/second").json() == {"reply": None}
    assert lea.ask("POST", f"/api/campaigns/{after.id}/second").json()["reply"] == reply["reply"]
    text = " ".join(lea.get(f"/campaigns/{after.id}").text.split())
    assert "0 rated prompts in 0.00 active hours; 0 replies without a rating, 0 on which" in text
    assert '<td>all</td><td class="number">1</td><td>100% (21% to 100%) of 1</td>' in text
    assert post(lea, f"/api/replies/{reply['reply']}/second", outcome="over-refusal").status_code == 204
    text = " ".join(lea.get(f"/campaigns/{after.id}").text.split())
    assert "1 on which two people disagree" in text
    assert "put to a later one" not in lea.get("/campaigns/1").text


def test_what_somebody_wrote_who_is_erased_while_the_policies_answer_is_not_kept(
    rob: Browser, visit: Visit, database: Database
) -> None:
    class Slow(Echo):
        def answers(self, messages: list[Message], num: int = 2) -> list[Written]:
            with database.writing() as connection:
                erase_user(connection, database.now(), names.pop())
            return super().answers(messages, num)

    campaign(database, 0, name="talk", live=True)
    ana = visit("ana")
    _, attack = begun(rob)
    rob.app.state.site = Site(database, policies=Slow())  # type: ignore[arg-type, attr-defined]
    names = ["ana", "rob"]
    for browser, path in ((rob, f"/api/attacks/{attack}/turns"), (ana, "/api/campaigns/2/write")):
        answer = post(browser, path, text="A secret attempt.")
        assert (answer.status_code, answer.json()["error"][:27]) == (404, "you were erased meanwhile, ")
    with database.reading() as connection:
        for table in (turns, items):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0

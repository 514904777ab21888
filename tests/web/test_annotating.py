from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from accord.labels import campaigns
from accord.labels.database import Database
from accord.labels.snapshot import judged
from tests.labels.people import campaign
from tests.web.conftest import Browser

Visit = Callable[..., Browser]
BETTER = {"ranks": [1, 2], "strength": "better"}


def test_from_an_invitation_to_a_label(database: Database, visit: Visit) -> None:
    of = campaign(database, 2)
    ana = visit("ana")
    assert "film" in ana.get("/").text
    assert 'data-campaign="1"' in ana.get("/campaigns/1/annotate").text
    found = ana.next()
    assert found["progress"] == {"own": 0, "answers": 0, "wanted": 2, "open": True}
    item = found["item"]
    assert item["messages"] == [{"role": "user", "text": "Question 0?"}]
    assert sorted(item["responses"]) == ["Answer 0.", "Answer 1."]
    assert ana.answer(item["assignment"], **BETTER).json() == {"submission": 1, "repeated": False, "late": False}
    assert ana.next()["item"]["assignment"] != item["assignment"]
    with database.reading() as connection:
        (comparison, (said,)), _ = judged(connection, of.id)
    texts = [response.text for response in comparison.responses]
    assert said.grades[texts.index(item["responses"][0])] == 3.0
    assert said.annotator.startswith("a-")


def test_what_is_shown_says_nothing_of_who_wrote_it_or_of_the_order_it_had(database: Database, visit: Visit) -> None:
    campaign(database, 1)
    item = visit("ana").next()["item"]
    assert sorted(item) == ["assignment", "draft", "earlier", "messages", "responses"]


def test_sent_twice_is_stored_once(database: Database, visit: Visit) -> None:
    campaign(database, 1)
    ana = visit("ana")
    item, key = ana.next()["item"], str(uuid.uuid4())
    first = ana.answer(item["assignment"], key, **BETTER).json()
    assert ana.answer(item["assignment"], key, **BETTER).json() == {**first, "repeated": True}


def test_drafts_skips_and_undo(database: Database, visit: Visit) -> None:
    campaign(database, 2)
    ana = visit("ana")
    first = ana.next()["item"]
    draft = {"comment": "so far", "at": 5.0}
    assert ana.ask("PUT", f"/api/assignments/{first['assignment']}/draft", draft).status_code == 204
    kept = ana.next()["item"]["draft"]
    assert (kept["comment"], kept["at"], kept["ranks"]) == ("so far", 5.0, None)
    body = {"key": str(uuid.uuid4()), "reason": "personal data", "active_seconds": 1}
    assert ana.ask("POST", f"/api/assignments/{first['assignment']}/skip", body).status_code == 200
    second = ana.next()["item"]
    ana.answer(second["assignment"], **BETTER, comment="clear")
    assert ana.next()["item"] is None
    assert ana.ask("POST", "/api/campaigns/1/undo", {"key": str(uuid.uuid4())}).status_code == 200
    again = ana.next()["item"]
    assert again["assignment"] == second["assignment"]
    assert again["earlier"]["comment"] == "clear"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"ranks": [1, 2]}, "say by how much the better response is better"),
        ({"ranks": [1, 2, 3]}, "3 ranks were sent for 2 responses"),
        ({"ranks": [1, "2"], "strength": "better"}, "content.ranks.1: Input should be a valid integer"),
        ({"ranks": [1, 2], "strength": "far"}, "content.strength: Input should be 'negligibly', 'slightly'"),
        ({"ranks": [1, 2], "strength": "better", "rank": 1}, "content.rank: Extra inputs are not permitted"),
        ({"ranks": [1, 1], "comment": "a" * 10_001}, "content.comment: String should have at most 10000 characters"),
        ({"ranks": [1, 1], "safe": [True, True]}, "2 labels of safety were sent, and none wanted"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_with_the_reason(
    database: Database, visit: Visit, content: dict[str, object], why: str
) -> None:
    campaign(database, 1)
    ana = visit("ana")
    answer = ana.answer(ana.next()["item"]["assignment"], **content)
    assert answer.status_code == 422
    assert why in answer.json()["error"]
    assert ana.next()["progress"]["answers"] == 0


def test_others_items_closed_campaigns_and_what_is_not_there(database: Database, visit: Visit) -> None:
    of = campaign(database, 1)
    ana, ben = visit("ana"), visit("ben")
    assignment = ana.next()["item"]["assignment"]
    assert ben.answer(assignment, **BETTER).status_code == 404
    assert ben.next()["item"] is None
    assert ana.next(99)["error"] == "there is no such campaign"
    with database.writing() as connection:
        campaigns.set_open(connection, 1.0, of.id, False)
    answer = ana.answer(assignment, **BETTER)
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        "this campaign is closed: nothing can be sent any more",
    )


def test_texts_lose_what_a_page_would_obey_and_keep_what_looks_like_markup(database: Database, visit: Visit) -> None:
    from accord.labels.campaigns import Settings
    from accord.types import Comparison, Message, Prompt, Response

    texts = ("<script>alert(1)</script>", "a\u202eb\x1b[31m")
    with database.writing() as connection:
        made = campaigns.create(connection, 1.0, "odd <b>", Settings())
        prompt = Prompt("x", (Message("user", "<img src=x onerror=alert(1)>"),))
        campaigns.add_items(connection, 1.0, made.id, [Comparison("x", prompt, tuple(map(Response, texts)))])
    ana = visit("ana")
    item = ana.next()["item"]
    assert sorted(item["responses"]) == ["<script>alert(1)</script>", "ab[31m"]
    assert "odd &lt;b&gt;" in ana.get("/").text
    assert "<b>" not in ana.get("/campaigns/1/annotate").text


@pytest.mark.parametrize("comment", ["\\ud800", "\\u0000"])
def test_texts_that_no_database_takes_are_refused(database: Database, visit: Visit, comment: str) -> None:
    campaign(database, 1)
    ana = visit("ana")
    assignment = ana.next()["item"]["assignment"]
    headers = {"X-CSRF-Token": ana.csrf, "Content-Type": "application/json"}
    draft = f'{{"comment": "{comment}"}}'
    assert ana.put(f"/api/assignments/{assignment}/draft", content=draft, headers=headers).status_code == 422
    key = str(uuid.uuid4())
    sent = f'{{"key": "{key}", "active_seconds": 1, "content": {{"ranks": [1, 1], "comment": "{comment}"}}}}'
    assert ana.post(f"/api/assignments/{assignment}/answer", content=sent, headers=headers).status_code == 422
    assert ana.next()["item"]["assignment"] == assignment

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from accord.labels import campaigns
from accord.labels.database import Database
from tests.labels.people import campaign
from tests.web.conftest import Browser

Visit = Callable[..., Browser]


def answer_all(browser: Browser, better: str | None) -> None:
    """better: the text that is called better wherever it stands; None: both are equal."""
    while (item := browser.next()["item"]) is not None:
        place = item["responses"].index(better) if better else 0
        content = {"ranks": [1, 2] if place == 0 else [2, 1], "strength": "better"} if better else {"ranks": [1, 1]}
        assert browser.answer(item["assignment"], **content).status_code == 200


def test_an_owner_sees_how_far_people_agree(database: Database, visit: Visit) -> None:
    campaign(database, 4, overlap=3)
    for name, better in (("ana", "Answer 0."), ("ben", "Answer 0."), ("cleo", None)):
        answer_all(visit(name), better)
    owner = visit("olga", "owner")
    text = " ".join(owner.get("/campaigns/1").text.split())
    assert "12 of 12 answers to 4 items, by 3 people" in text
    # Ana and Ben agree on all four, Cleo with nobody. By hand: a third of all pairs agree; of 12 answers 8 are one
    # category, 4 the other. alpha = 1 - (2/3) / (2 * 8 * 4 / (12 * 11)); AC1 = (1/3 - 2/9) / (1 - 2/9) with q = 3.
    alpha, ac1 = re.findall(r"(?:alpha|AC1) (-?[\d.]+),", text)
    assert float(alpha) == pytest.approx(1 - (2 / 3) / (64 / 132), abs=0.006)
    assert float(ac1) == pytest.approx((1 / 3 - 2 / 9) / (1 - 2 / 9), abs=0.006)
    assert '1.00 <span class="hint">of 4</span>' in text
    assert "100% (51% to 100%) of 4" in text  # Cleo's ties


def test_an_owner_opens_closes_and_writes_the_guideline(database: Database, visit: Visit) -> None:
    of = campaign(database, 2)
    owner, ana = visit("olga", "owner"), visit("ana")
    assert owner.ask("PATCH", "/api/campaigns/1", {"guideline": "Prefer <short> answers."}).status_code == 204
    assert owner.ask("PATCH", "/api/campaigns/1", {"open": False}).status_code == 204
    closed = ana.next()
    assert closed["item"] is None
    assert closed["progress"] == {"own": 0, "answers": 0, "wanted": 2, "open": False}
    assert owner.ask("PATCH", "/api/campaigns/1", {"open": True}).status_code == 204
    assert ana.next()["item"]
    page = ana.get("/campaigns/1/annotate").text
    assert "Guideline, version 2" in page
    assert "Prefer &lt;short&gt; answers." in page
    settings = {"overlap": 2, "safety": True}
    assert owner.ask("PATCH", "/api/campaigns/1", {"settings": settings}).status_code == 204
    with database.reading() as connection:
        assert campaigns.get(connection, of.id).settings.safety
    assert owner.ask("PATCH", "/api/campaigns/9", {"open": True}).status_code == 404
    assert owner.ask("PATCH", "/api/campaigns/1", {"settings": {"overlap": 0}}).status_code == 422


def test_an_owner_invites_changes_and_lets_in_no_more(database: Database, visit: Visit) -> None:
    owner = visit("olga", "owner")
    path = owner.ask("POST", "/api/invitations", {"role": "reviewer"}).json()["path"]
    ben = visit()
    ben.post(path, data={"name": "ben", "password": "correct horse battery"})
    assert ben.get("/").status_code == 200
    assert "ben" in owner.get("/people").text
    assert owner.ask("PATCH", "/api/users/2", {"role": "annotator"}).status_code == 204
    assert ben.get("/campaigns/1").status_code == 403
    assert owner.ask("PATCH", "/api/users/2", {"active": False}).status_code == 204
    assert ben.get("/", follow_redirects=False).status_code == 303
    last = owner.ask("PATCH", "/api/users/1", {"active": False})
    assert (last.status_code, last.json()["error"]) == (409, "the last owner stays one")


def test_people_of_whom_little_is_known(database: Database, visit: Visit) -> None:
    campaign(database, 3, gold=1, gold_every=1)
    answer_all(visit("ana"), "Answer 0.")
    text = " ".join(visit("olga", "owner").get("/campaigns/1").text.split())
    assert "No pair of responses has two answers yet" in text
    assert "100% (21% to 100%) of 1" in text  # the known best was found


def test_an_owner_sees_the_queue_the_days_and_what_was_done(database: Database, visit: Visit) -> None:
    campaign(database, 3, overlap=2)
    ana, ben = visit("ana <b>"), visit("ben")
    database.now = lambda: 86_400.0 * 20_000
    for name in (ana, ben, ana):
        item = name.next()["item"]
        assert name.answer(item["assignment"], ranks=[1, 1]).status_code == 200
    database.now = lambda: 86_400.0 * 20_001
    ana.next()
    owner = visit("olga", "owner")
    text = " ".join(owner.get("/campaigns/1").text.split())
    assert "1 items have all their answers, 2 are begun, 0 are new." in text
    assert '<td>2024-10-04</td><td class="number">3</td>' in text
    owner.ask("PATCH", "/api/campaigns/1", {"open": False})
    trail = owner.get("/events").text
    assert "campaign closed" in trail
    assert "ana &lt;b&gt;" in trail


def test_everybody_may_say_what_they_are_and_owners_see_groups(database: Database, visit: Visit) -> None:
    campaign(database, 2, overlap=3)
    for name in ("ana", "ben", "cleo"):
        browser = visit(name)
        declared = {"groups": ["<b>Nurse</b>"], "languages": ["Polish", "English"]}
        assert browser.ask("PUT", "/api/you", declared).status_code == 204
        assert 'value="polish, english"' in browser.get("/you").text
        answer_all(browser, "Answer 0.")
    assert browser.ask("PUT", "/api/you", {"groups": ["a\u0000b"]}).status_code == 422
    text = visit("olga", "owner").get("/campaigns/1/groups").text
    assert "within &lt;b&gt;nurse&lt;/b&gt;" in text
    assert "100% (61% to 100%) of 6" in text
    assert "100 %" in text  # Dawid and Skene's


def test_owners_change_how_it_asks_and_reviewers_read_it(database: Database, visit: Visit) -> None:
    campaign(database, 1, overlap=2, flags=('says "<b>"', "second"), lease_minutes=12.5)
    page = visit("olga", "owner").get("/campaigns/1").text
    assert 'name="overlap" type="number" min="1" max="100" required value="2"' in page
    assert 'required value="12.5"' in page
    assert "says &#34;&lt;b&gt;&#34;\nsecond</textarea>" in page
    text = " ".join(visit("rita", "reviewer").get("/campaigns/1").text.split())
    assert "settings-form" not in text
    assert "<th>People asked about each item</th><td>2</td>" in text
    assert "<th>Flags</th><td>says &#34;&lt;b&gt;&#34;; second</td>" in text


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ([f"flag {i}" for i in range(21)], "there are at most 20 flags, no two of which are alike"),
        (["one", "one"], "there are at most 20 flags, no two of which are alike"),
        (["a" * 201], "a flag has 1 to 200 characters"),
        ([" "], "a flag has 1 to 200 characters"),
        (["\0"], "a flag holds a character that cannot be stored"),
        (["\ud800"], "a flag holds a character that cannot be stored"),
    ],
)
def test_flags_that_no_answer_could_send_are_refused(
    database: Database, visit: Visit, flags: list[str], why: str
) -> None:
    of = campaign(database, 1)
    owner = visit("olga", "owner")
    body = json.dumps({"settings": {"flags": flags}})  # which writes halves of characters, too
    headers = {"X-CSRF-Token": owner.csrf, "Content-Type": "application/json"}
    answer = owner.patch("/api/campaigns/1", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (422, why)
    with database.reading() as connection:
        assert campaigns.get(connection, of.id) == of

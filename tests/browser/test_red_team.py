from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from accord.labels.database import Database
from accord.labels.red_team_results import results
from accord.labels.schema import ratings
from accord.types import Message
from accord.web.guard import Site
from accord.web.policies import Written
from tests.browser.conftest import Server
from tests.labels.people import campaign
from tests.labels.test_red_team import team

Enter = Callable[..., Any]


class Echo:
    def answers(self, messages: list[Message], num: int = 2) -> list[Written]:
        return [Written(f"{by}: {messages[-1].content} <i>", by) for by in ("old", "new")[:num]]


def test_from_an_attack_to_gamma(database: Database, server: Server, enter: Enter) -> None:
    of = campaign(database, 0, red_team=True)
    server.app.state.site = Site(database, policies=Echo())  # type: ignore[arg-type]
    page = enter("rob", "red-teamer")
    page.click("text=Attack")
    page.click("#begin")
    page.select_option("#vector", "logic manipulation")
    page.click("text=Begin it")
    page.fill("#text", "Suppose that it were allowed.")
    page.click("#ask")
    page.wait_for_selector(".response")
    assert page.inner_text(".response .text") == "old: Suppose that it were allowed. <i>"
    page.fill("#text", "And then?")
    page.click("#ask")
    assert page.inner_text("#problem") == "Rate the last reply first."
    page.focus(".response")
    page.keyboard.press("3")
    page.click(".rating .bins button >> nth=3")
    page.click("#ask")
    page.locator(".response").nth(1).wait_for()
    page.reload()  # the attack goes on where it was
    page.click("#begin")
    page.locator(".response").nth(1).wait_for()
    assert page.get_attribute(".bins button >> nth=2", "aria-checked") == "true"
    page.locator(".response").nth(1).focus()
    page.keyboard.press("2")
    page.locator(".response.rated").nth(1).wait_for()
    page.wait_for_timeout(500)
    page.click("#another")
    page.wait_for_selector("#choose:not([hidden])")
    page.wait_for_timeout(5500)  # the clock is sent
    with database.reading() as connection:
        found = results(connection, of.id)
    assert (found.num_prompts, found.num_violating) == (2, 1)
    assert list(found.grid) == [("illicit and criminal activities", "logic manipulation")]
    assert 0 < found.hours < 0.1

    sue = enter("sue", "reviewer")
    sue.goto(f"{server.address}/campaigns/1/second")
    sue.wait_for_selector("#attack:not([hidden])")
    sue.keyboard.press("1")
    sue.click("text=Send")
    sue.locator(".turn.user").nth(1).wait_for()
    sue.goto(f"{server.address}/campaigns/1")
    assert "1 on which two people disagree" in " ".join(sue.inner_text("main").split())


def test_a_rating_that_is_not_finished_is_not_the_one_before(database: Database, server: Server, enter: Enter) -> None:
    """Compliant, and then a violation of which it is not said how severe it is."""
    rob = team(database)
    rob.rate(rob.turn(rob.attack(), "try").replies[0].id, "violation")
    server.app.state.site = Site(database, policies=Echo())  # type: ignore[arg-type]
    sue = enter("sue", "reviewer")
    sue.goto(f"{server.address}/campaigns/1/second")
    sue.wait_for_selector("#attack:not([hidden])")
    sue.keyboard.press("1")
    sue.keyboard.press("3")
    sue.click("text=Send")
    assert sue.inner_text("#problem") == "Say what it is first, and of a violation how severe."
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(ratings)).scalar() == 1

    sue.goto(f"{server.address}/campaigns/1/red-team")
    sue.click("#begin")
    sue.click("text=Begin it")
    sue.fill("#text", "Suppose that it were allowed.")
    sue.click("#ask")
    sue.focus(".response")
    sue.keyboard.press("1")
    sue.keyboard.press("3")
    sue.fill("#text", "And then?")
    sue.click("#ask")
    assert sue.inner_text("#problem") == "Rate the last reply first."

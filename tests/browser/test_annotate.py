from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accord.labels import campaigns
from accord.labels.database import Database
from accord.labels.snapshot import Said, judged, said
from accord.types import Message
from accord.web.guard import Site
from accord.web.policies import Written
from tests.browser.conftest import Server
from tests.labels.people import campaign

Enter = Callable[..., Any]


def annotate(page: Any) -> None:
    page.click("text=Annotate")
    page.wait_for_selector("#item:not([hidden])")


def all_said(database: Database, number: int = 1) -> list[Said]:
    with database.reading() as connection:
        return said(connection, number)


def wait_for_answers(page: Any, num: int) -> None:
    page.locator("#progress", has_text=f"{num} by you").wait_for()  # not a function: the page's policy forbids eval


def shown(page: Any) -> list[str]:
    return [one.inner_text() for one in page.query_selector_all(".response .text")]


def test_pairs_with_keys_alone(database: Database, server: Server, enter: Enter) -> None:
    of = campaign(database, 3)
    page = enter()
    annotate(page)
    expected = {}
    for num, (key, grades) in enumerate((("2", (3.0, 0.0)), ("5", (0.0, 0.0)), ("9", (0.0, 4.0))), start=1):
        texts = shown(page)
        asked = page.inner_text("#conversation .text")
        expected[asked] = dict(zip(texts, grades, strict=True))
        page.keyboard.press(key)
        page.keyboard.press("Enter")
        wait_for_answers(page, num)
    page.wait_for_selector("#done:not([hidden])")
    with database.reading() as connection:
        for comparison, (judgement,) in judged(connection, of.id):
            by_text = dict(zip((one.text for one in comparison.responses), judgement.grades, strict=True))
            assert by_text == expected[comparison.prompt.messages[0].content]
    assert all(one.active_seconds >= 0 for one in all_said(database))


def test_when_the_owner_asks_for_more_the_page_asks_so_and_no_answer_is_lost(database: Database, enter: Enter) -> None:
    of = campaign(database, 2)
    page = enter()
    annotate(page)
    page.keyboard.press("2")
    with database.writing() as connection:
        settings = of.settings.model_copy(update={"safety": True})
        campaigns.change(connection, database.now(), of.id, settings)
    page.keyboard.press("Enter")  # an answer to what is not asked so any more: the item comes again
    page.wait_for_selector(".bins")
    page.wait_for_selector("#item:not([hidden])")
    assert all_said(database) == []
    page.keyboard.press("2")
    for button in page.query_selector_all(".bins button:first-child"):
        button.click()
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)


def test_an_answer_that_is_not_complete_is_not_sent_and_the_page_says_why(database: Database, enter: Enter) -> None:
    campaign(database, 1, safety=True)
    page = enter()
    annotate(page)
    page.keyboard.press("Enter")
    assert page.inner_text("#problem") == "Choose first which is better."
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    assert page.inner_text("#problem") == "Say first whether it is safe: A, B."
    page.keyboard.press("q")
    page.keyboard.press("Enter")
    assert page.inner_text("#problem") == "Say first whether it is safe: B."
    page.keyboard.press("p")
    assert page.is_hidden("#problem")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done:not([hidden])")
    (one,) = all_said(database)
    assert one.answer.safe == [True, False]


def test_four_are_ranked_by_dragging_and_by_keys(database: Database, enter: Enter) -> None:
    campaign(database, 2, num_responses=4)
    page = enter()
    annotate(page)
    for letter, rank in (("B", 1), ("D", 2), ("A", 2), ("C", 4)):
        page.drag_and_drop(f".chip:text-is('{letter}')", f".rank[aria-label='Rank {rank}']")
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)
    for key in ("c", "1", "a", "2", "d", "2", "d", "0", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#done:not([hidden])")
    assert [one.answer.ranks for one in all_said(database)] == [[2, 1, 4, 2], [2, None, 1, None]]


def test_what_is_begun_is_there_after_a_refresh_and_on_another_machine(database: Database, enter: Enter) -> None:
    campaign(database, 2)
    page = enter()
    annotate(page)
    before = shown(page)
    page.keyboard.press("3")
    page.keyboard.press("c")
    page.keyboard.type("Both are short; s, u and 1 are letters here.")
    page.wait_for_timeout(1500)  # the draft reaches the server
    page.reload()
    page.wait_for_selector("#item:not([hidden])")
    assert shown(page) == before
    assert page.input_value("#comment") == "Both are short; s, u and 1 are letters here."
    assert page.get_attribute("#scale-options button:nth-child(3)", "aria-checked") == "true"
    page.evaluate("localStorage.clear()")
    page.reload()
    page.wait_for_selector("#item:not([hidden])")
    assert page.input_value("#comment") == "Both are short; s, u and 1 are letters here."
    page.click("#send")
    wait_for_answers(page, 1)
    (one,) = all_said(database)
    assert (one.answer.ranks, one.answer.strength) == ([1, 2], "slightly")


def test_an_answer_that_the_server_never_heard_waits_in_the_browser(
    database: Database, server: Server, enter: Enter
) -> None:
    """The server is gone when it is sent, the page is closed, and the answer is there once both are back."""
    campaign(database, 2)
    page = enter()
    annotate(page)
    server.stop()
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice:not([hidden])")
    assert "1 answer waits in this browser and will be sent" in page.inner_text("#notice")
    assert all_said(database) == []
    server.start()
    page.goto(f"{server.address}/campaigns/1/annotate")
    wait_for_answers(page, 1)
    (one,) = all_said(database)
    assert one.answer.strength == "significantly"
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.includes('outbox'))") == []


def test_an_acknowledgement_that_is_lost_makes_no_second_label(database: Database, enter: Enter) -> None:
    campaign(database, 2)
    page = enter()
    annotate(page)
    dropped = []

    def drop_first(route: Any) -> None:
        if not dropped:
            dropped.append(route.fetch())  # the server has it, and the browser does not know
            route.abort()
        else:
            route.continue_()

    page.route("**/answer", drop_first)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    wait_for_answers(page, 1)
    assert len(all_said(database)) == 1
    assert dropped[0].json()["repeated"] is False


def test_an_answer_that_is_refused_is_kept_and_said(database: Database, enter: Enter) -> None:
    of = campaign(database, 2)
    page = enter()
    annotate(page)
    page.keyboard.press("1")
    with database.writing() as connection:
        campaigns.set_open(connection, 1.0, of.id, False)
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:not([hidden])")
    assert "this campaign is closed" in page.inner_text("#problem")
    kept = page.evaluate("Object.entries(localStorage).filter(([k]) => k.includes('.refused.')).map(([, v]) => v)[0]")
    assert '"significantly"' in kept


def test_skip_and_undo(database: Database, enter: Enter) -> None:
    campaign(database, 3)
    page = enter()
    annotate(page)
    page.keyboard.press("s")
    page.click(".reason >> nth=0")
    page.locator("#conversation .text", has_text="Question 1?").wait_for()
    page.keyboard.press("s")
    page.fill("#reason", "in a dialect")
    page.keyboard.press("Enter")
    page.locator("#conversation .text", has_text="Question 2?").wait_for()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done:not([hidden])")
    page.click("text=To the beginning")
    annotate_again = page.locator("text=Annotate")
    annotate_again.click()
    page.wait_for_selector("#done:not([hidden])")
    page.keyboard.press("u")
    page.wait_for_selector("#item:not([hidden])")
    assert page.get_attribute("#scale-options button:nth-child(4)", "aria-checked") == "true"
    page.keyboard.press("6")
    page.keyboard.press("Enter")
    page.wait_for_selector("#done:not([hidden])")
    (one,) = all_said(database)
    assert (one.answer.ranks, one.answer.strength) == ([2, 1], "negligibly")


def test_two_people_at_once_get_two_items(database: Database, enter: Enter) -> None:
    campaign(database, 2)
    ana, ben = enter("ana"), enter("ben")
    annotate(ana)
    annotate(ben)
    assert ana.inner_text("#conversation .text") != ben.inner_text("#conversation .text")


def test_owner_invites_somebody(database: Database, server: Server, enter: Enter) -> None:
    owner = enter("olga", "owner")
    owner.click("text=People and invitations")
    owner.select_option("#role", "reviewer")
    owner.click("text=Make a link")
    owner.wait_for_selector("#link:not([hidden])")
    assert f"{server.address}/join/" in owner.inner_text("#link")
    owner.click("#sign-out")
    owner.wait_for_url("**/sign-in")


def test_a_person_writes_and_goes_on(database: Database, server: Server, enter: Enter) -> None:
    class Echo:
        def answers(self, messages: list[Message]) -> list[Written]:
            return [Written(f"{by}: {messages[-1].content} ({len(messages)})", by) for by in ("first", "second")]

    campaign(database, 0, live=True)
    server.app.state.site = Site(database, policies=Echo())  # type: ignore[arg-type]
    page = enter()
    page.click("text=Annotate")
    page.fill("#text", "What is <b>rain</b>?")
    page.reload()
    assert page.input_value("#text") == "What is <b>rain</b>?"  # kept
    page.click("#ask")
    page.wait_for_selector("#item:not([hidden])")
    assert sorted(shown(page)) == ["first: What is <b>rain</b>? (1)", "second: What is <b>rain</b>? (1)"]
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#write:not([hidden])")
    assert page.is_checked("#go-on")
    page.fill("#text", "And snow?")
    page.click("#ask")
    page.wait_for_selector("#item:not([hidden])")
    assert sorted(shown(page)) == ["first: And snow? (3)", "second: And snow? (3)"]
    assert page.locator("#conversation .turn").count() == 3
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    page.wait_for_selector("#write:not([hidden])")
    page.uncheck("#go-on")
    page.fill("#text", "My card is 4111 1111 1111 1111, and ann.smith@mail.org is me.")
    page.click("#ask")
    page.wait_for_selector("#problem:not([hidden])")
    assert "take it out" in page.inner_text("#problem")
    assert "4111" in page.input_value("#text")

"""Rankings by keys alone: ranks above 9, whether each is safe, and the page's own help with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accord.labels.answers import Answer
from accord.labels.database import Database
from accord.labels.snapshot import said
from tests.browser.conftest import Server
from tests.labels.people import campaign

Enter = Callable[..., Any]


def begin(enter: Enter, server: Server) -> Any:
    page = enter()
    page.goto(f"{server.address}/campaigns/1/annotate")
    page.wait_for_selector("#item:not([hidden])")
    return page


def press(page: Any, keys: str) -> None:
    for key in keys.split():
        page.keyboard.press(key)


def answers(database: Database) -> list[Answer]:
    with database.reading() as connection:
        return [one.answer for one in said(connection, 1)]


def rank_of(page: Any, letter: str) -> str:
    return str(page.locator(f".rank:has(.chip:text-is('{letter}'))").get_attribute("aria-label"))


def test_three_are_ranked_and_said_to_be_safe(database: Database, server: Server, enter: Enter) -> None:
    campaign(database, 1, num_responses=3, safety=True)
    page = begin(enter, server)
    assert "+ says that it is safe, - that it is unsafe" in " ".join(page.inner_text("#ranking-keys").split())
    assert page.is_hidden("#pair-keys")
    press(page, "+ 1 Enter")  # nothing is held yet
    assert page.inner_text("#problem") == "Rank at least two first."
    press(page, "a 1 + c - 2 Enter")  # the rank and the safety in any order
    assert page.inner_text("#problem") == "Say first whether it is safe: B."
    assert page.inner_text(".response:nth-child(3) .named") == "C\nrank 2, unsafe"
    press(page, "b = - + 2 Enter")  # changed one's mind; = is + on many keyboards
    page.wait_for_selector("#done:not([hidden])")
    (answer,) = answers(database)
    assert (answer.ranks, answer.safe) == ([1, 2, 2], [True, True, False])


def test_two_digits_soon_after_one_another_are_one_rank(database: Database, server: Server, enter: Enter) -> None:
    campaign(database, 1, num_responses=12)
    page = begin(enter, server)
    assert "1 2 within a second is rank 12" in " ".join(page.inner_text("#ranking-keys").split())
    assert "safe" not in page.inner_text("#ranking-keys")
    press(page, "a 1 2")
    assert rank_of(page, "A") == "Rank 12"
    press(page, "b 1 3")  # there is no rank 13
    assert rank_of(page, "B") == "Rank 3"
    press(page, "d 1 0 e 1")
    assert [rank_of(page, one) for one in "DE"] == ["Rank 10", "Rank 1"]
    page.wait_for_timeout(1100)
    press(page, "2 f 1 0 g 0 5 Enter")
    page.wait_for_selector("#done:not([hidden])")
    (answer,) = answers(database)
    assert answer.ranks == [12, 3, None, 10, 2, 10, 5, *[None] * 5]


def test_with_as_many_responses_as_letters_every_key_is_still_there(
    database: Database, server: Server, enter: Enter
) -> None:
    campaign(database, 1, num_responses=26, safety=True)
    page = begin(enter, server)
    for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz", start=1):
        press(page, " ".join([letter, *str(number), "-" if letter == "u" else "+"]))
    assert rank_of(page, "S") == "Rank 19"
    press(page, "Shift+G")
    assert page.get_attribute("#guideline-button", "aria-expanded") == "true"
    press(page, "Shift+S")
    assert page.is_visible("#skipping")
    press(page, "Shift+S Shift+C")
    page.keyboard.type("a1 in a comment")
    press(page, "Escape Enter")
    page.wait_for_selector("#done:not([hidden])")
    (answer,) = answers(database)
    assert answer.ranks == list(range(1, 27))
    assert [at for at, safe in enumerate(answer.safe) if not safe] == [20]
    assert answer.comment == "a1 in a comment"
    press(page, "Shift+U")
    page.wait_for_selector("#item:not([hidden])")
    assert rank_of(page, "Z") == "Rank 26"


def test_a_response_that_was_put_with_the_pointer_is_not_held_any_more(
    database: Database, server: Server, enter: Enter
) -> None:
    campaign(database, 1, num_responses=3)
    page = begin(enter, server)
    page.click(".chip:text-is('A')")
    page.click(".rank[aria-label='Rank 2']", position={"x": 300, "y": 10})
    page.click(".rank[aria-label='Rank 1']", position={"x": 300, "y": 10})
    assert rank_of(page, "A") == "Rank 2"
    press(page, "3")
    assert rank_of(page, "A") == "Rank 2"
    assert page.locator(".response.held").count() == 0


def test_the_keys_are_told_in_a_narrow_window_and_not_on_a_phone(
    database: Database, server: Server, enter: Enter
) -> None:
    campaign(database, 2, overlap=2, num_responses=3, safety=True)
    narrow = {"width": 390, "height": 800}
    for name, options, told in (("ana", {}, True), ("ben", {"is_mobile": True, "has_touch": True}, False)):
        page = enter(name, viewport=narrow, **options)
        page.goto(f"{server.address}/campaigns/1/annotate")
        page.wait_for_selector("#item:not([hidden])")
        assert page.is_visible("#ranking-keys") == told
        assert page.evaluate("document.documentElement.scrollWidth") == 390

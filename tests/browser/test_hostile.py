"""A hundred hostile texts on every page that shows texts of others: they stand there as texts, and nothing runs.

`enter` fails a test for dialogs, errors, and requests to elsewhere; `looked_at` for markup that came out of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from accord.labels import campaigns, queue, red_team, users
from accord.labels.campaigns import Settings
from accord.labels.database import Database
from accord.labels.queue import Sent
from accord.labels.red_team import Rating
from accord.labels.snapshot import said
from accord.printable import printable
from accord.types import Comparison, Message, Prompt, Response
from tests.browser.conftest import Server
from tests.browser.hostile import HOSTILE
from tests.labels.people import campaign

Enter = Callable[..., Any]
AT_ONCE = 20  # texts of an item
SHOWN = [printable(text) for text in HOSTILE]
NOT_OURS = (
    "script:not([type=module][src^='/static/']), style, iframe, object, embed, base, math, svg, template, marquee, "
    "img:not([src^='/campaigns/']), a:not([href^='/']):not([href='#main'])"
)
ATTRIBUTES = "[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"


def names(limit: int) -> list[str]:
    """As a person or a campaign can be called: no two alike, cut, and without what is not printed."""
    return list(dict.fromkeys("".join(c for c in text if c.isprintable())[:limit] for text in HOSTILE))


def looked_at(page: Any) -> Any:
    """The page, which holds no element and no attribute that a template or a module of ours does not make."""
    assert page.evaluate("window.pwned") is None
    assert page.locator(NOT_OURS).count() == 0
    assert not [name for name in page.evaluate(ATTRIBUTES) if name.startswith("on") or name in ("style", "srcdoc")]
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    return page


def seen(page: Any, selector: str) -> list[str]:
    """The texts of these elements, each of which takes up room."""
    look = "(all) => all.map((one) => [one.textContent, one.getBoundingClientRect()])"
    found = page.locator(selector).evaluate_all(look)
    assert all(box["width"] > 0 and box["height"] > 0 for _, box in found)
    return [text for text, _ in found]


def fill(database: Database, texts: Sequence[str]) -> None:
    """Campaign 1: items of so many texts each, as messages and as responses; also as flags and in the guideline."""
    with database.writing() as connection:
        settings = Settings(flags=tuple(texts))
        made = campaigns.create(connection, 1.0, "texts", settings, "\n".join(texts))
        items = []
        for first in range(0, len(texts), AT_ONCE):
            some = texts[first : first + AT_ONCE]
            prompt = Prompt(f"i{first}", tuple(Message("user", text) for text in some))
            items.append(Comparison(f"i{first}", prompt, tuple(map(Response, some))))
        campaigns.add_items(connection, 1.0, made.id, items)


def test_texts_of_items_flags_guideline_and_comments(database: Database, server: Server, enter: Enter) -> None:
    fill(database, HOSTILE)
    page = enter(names(64)[0], "owner", viewport={"width": 390, "height": 800})
    page.goto(f"{server.address}/campaigns/1/annotate")
    comments = []
    for first in range(0, len(HOSTILE), AT_ONCE):
        some = SHOWN[first : first + AT_ONCE]
        page.locator("#conversation .text", has_text=some[0]).first.wait_for()
        looked_at(page)
        assert seen(page, "#conversation .text") == some
        assert sorted(seen(page, "#responses .text")) == sorted(some)
        comments.append("\n".join(HOSTILE[first : first + AT_ONCE]))
        page.locator(".more").evaluate("(details) => { details.open = true; }")
        page.fill("#comment", comments[-1])
        for key in ("Escape", "a", "1", "b", "2", "Enter"):
            page.keyboard.press(key)
        page.locator("#progress", has_text=f"{first // AT_ONCE + 1} by you").wait_for()
    page.wait_for_selector("#done:not([hidden])")
    page.keyboard.press("u")
    page.wait_for_selector("#item:not([hidden])")
    assert page.input_value("#comment") == comments[-1]
    with database.reading() as connection:
        assert [one.answer.comment for one in said(connection, 1)] == comments[:-1]
    page.keyboard.press("Shift+G")
    page.keyboard.press("Shift+S")
    looked_at(page)
    assert seen(page, ".reason") == SHOWN
    assert seen(page, "#flags label") == [f" {text}" for text in SHOWN]
    assert seen(page, "#guideline .text") == [printable("\n".join(HOSTILE))]
    page.goto(f"{server.address}/campaigns/1")
    looked_at(page)
    assert page.input_value("#guideline") == "\n".join(HOSTILE)


def test_names_of_people_and_campaigns(database: Database, server: Server, enter: Enter) -> None:
    people = names(64)
    of = campaign(database, len(people))
    with database.writing() as connection:
        for name in people:
            user = users.create(connection, 1.0, name, "annotator")
            given = queue.lease(connection, 1.0, user.id, of)
            assert given
            content = {"ranks": [1, 2], "strength": "better", "comment": name}
            queue.submit(connection, 1.0, user.id, given.assignment, Sent(str(uuid4()), "answer", content))
        for name in names(100):
            campaigns.create(connection, 1.0, name, Settings())
    page = enter("<img src=x onerror=alert(2)>", "owner")
    looked_at(page)
    assert seen(page, "article h2")[::-1] == ["film", *names(100)]
    assert seen(page, ".who") == ["<img src=x onerror=alert(2)>"]
    page.goto(f"{server.address}/campaigns/1")
    assert seen(looked_at(page), "td:first-child:nth-last-child(8)") == people
    page.goto(f"{server.address}/people")
    assert seen(looked_at(page), "td:first-child")[:-1] == people
    page.goto(f"{server.address}/events")
    assert set(seen(looked_at(page), "td:nth-child(2)")) >= set(people)
    page.goto(f"{server.address}/campaigns/{of.id + 1}/annotate")
    assert seen(looked_at(page), ".where") == names(100)[:1]


def test_texts_of_red_teamers_and_replies(database: Database, server: Server, enter: Enter) -> None:
    kinds = tuple(dict.fromkeys(" ".join(text.split()) for text in SHOWN))
    of = campaign(database, 0, red_team=True, categories=kinds, vectors=kinds[:3])
    with database.writing() as connection:
        rob = users.create(connection, 1.0, "rob", "red-teamer")
        sitting = red_team.sit(connection, 1.0, rob.id, of, str(uuid4()))
        kind = {"category": kinds[0], "vector": kinds[1]}
        attack = red_team.attack(connection, 1.0, rob.id, of, sitting, str(uuid4()), **kind)
        for text in HOSTILE:
            turn = red_team.add_turn(connection, 1.0, rob.id, attack, str(uuid4()), text, 0, [(text, text)])
        rating = Rating("violation", 5, HOSTILE[0])
        red_team.rate(connection, 1.0, rob.id, turn.replies[0].id, str(uuid4()), "own", rating)
    page = enter("olga", "owner")
    page.goto(f"{server.address}/campaigns/1/second")
    page.wait_for_selector("#attack:not([hidden])")
    looked_at(page)
    assert seen(page, ".turn.user .text") == SHOWN
    assert seen(page, ".response .text") == SHOWN
    assert seen(page, "#kind") == [f"{kinds[0]} · {kinds[1]}"]
    page.goto(f"{server.address}/campaigns/1/red-team")
    assert looked_at(page).locator("#category option").all_text_contents() == list(kinds)
    page.goto(f"{server.address}/campaigns/1")
    looked_at(page)
    assert set(seen(page, "table:not(.grid) td:first-child")) == {SHOWN[-1]}
    assert seen(page, ".grid tbody th") == list(kinds)


def test_what_is_typed_to_sign_in_comes_back_as_text(server: Server, chromium: Any) -> None:
    context = chromium.new_context()
    page = context.new_page()
    for text in ('"><script>window.pwned=1</script>', "' onfocus=window.pwned=1 autofocus x='"):
        page.goto(f"{server.address}/sign-in")
        page.fill("[name=name]", text)
        page.fill("[name=password]", text)
        page.click("button")
        assert looked_at(page).input_value("[name=name]") == text
    context.close()

"""The owner's page of a campaign: its settings and its pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accord.labels import campaigns
from accord.labels.campaigns import Settings
from accord.labels.database import Database
from tests.browser.conftest import Server
from tests.labels.people import campaign

Enter = Callable[..., Any]


def settings(database: Database) -> Settings:
    with database.reading() as connection:
        return campaigns.get(connection, 1).settings


def test_settings_are_changed_in_a_form(database: Database, server: Server, enter: Enter) -> None:
    of = campaign(database, 1, vectors=("another language",))
    page = enter("olga", "owner")
    page.goto(f"{server.address}/campaigns/1")
    page.fill("#guideline", "A guideline that is begun.")
    for name, value in (("overlap", "3"), ("num_answers", "500"), ("lease_minutes", "7.5"), ("gold_every", "0")):
        page.fill(f"[name={name}]", value)
    page.uncheck("[name=strengths]")
    page.check("[name=safety]")
    page.fill("[name=flags]", "  first <b>  \n\nsecond, with a comma\n")
    page.click("#settings-form button")
    page.wait_for_selector("#settings-saved:not([hidden])")
    changed = {
        "overlap": 3,
        "num_answers": 500,
        "lease_minutes": 7.5,
        "gold_every": 0,
        "strengths": False,
        "safety": True,
        "flags": ("first <b>", "second, with a comma"),
    }
    assert settings(database) == of.settings.model_copy(update=changed)  # and what is not in the form is as it was
    assert page.input_value("#guideline") == "A guideline that is begun."
    page.fill("[name=num_answers]", "")
    page.click("#settings-form button")
    page.wait_for_selector("#settings-saved:not([hidden])")
    assert settings(database).num_answers is None
    page.reload()
    assert page.input_value("[name=overlap]") == "3"
    assert page.input_value("[name=flags]") == "first <b>\nsecond, with a comma"


def test_settings_that_are_refused_are_said_and_stay_as_typed(database: Database, server: Server, enter: Enter) -> None:
    of = campaign(database, 1)
    page = enter("olga", "owner")
    page.goto(f"{server.address}/campaigns/1")
    page.fill("[name=flags]", "twice\ntwice")
    page.click("#settings-form button")
    page.wait_for_selector("#settings-problem:not([hidden])")
    assert page.inner_text("#settings-problem") == "there are at most 20 flags, no two of which are alike."
    page.fill("[name=overlap]", "101")
    page.click("#settings-form button")
    assert page.evaluate("document.querySelector('[name=overlap]').validity.rangeOverflow")
    page.fill("[name=overlap]", "4")
    page.fill("[name=flags]", "once")
    server.stop()
    page.click("#settings-form button")
    page.locator("#settings-problem", has_text="the server cannot be reached").wait_for()
    assert (page.input_value("[name=overlap]"), page.input_value("[name=flags]")) == ("4", "once")
    assert settings(database) == of.settings
    server.start()
    page.click("#settings-form button")
    page.wait_for_selector("#settings-saved:not([hidden])")
    assert page.is_hidden("#settings-problem")
    assert (settings(database).overlap, settings(database).flags) == (4, ("once",))


def test_pictures_are_there_in_light_and_in_dark(database: Database, server: Server, enter: Enter) -> None:
    campaign(database, 1)
    ana = enter("ana")
    ana.click("text=Annotate")
    ana.wait_for_selector("#item:not([hidden])")
    ana.keyboard.press("1")
    ana.keyboard.press("Enter")
    ana.wait_for_selector("#done:not([hidden])")
    for name, scheme in (("olga", "light"), ("otto", "dark")):
        page = enter(name, "owner", color_scheme=scheme)
        page.goto(f"{server.address}/campaigns/1")
        picture = page.locator("img[alt^='Bars: the answers of each day']")
        picture.scroll_into_view_if_needed()
        shown = picture.evaluate("async (image) => (await image.decode(), [image.naturalWidth, image.currentSrc])")
        assert shown[0] > 500
        assert shown[1].endswith("?dark=true") == (scheme == "dark")
    assert page.locator("img").count() == 2  # nobody has answered anything twice: nothing to agree on

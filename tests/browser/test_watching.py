"""The live pages of runs in a real browser: they follow a run's files, and their buttons ask before they stop."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from accord import control
from tests.browser.conftest import Server
from tests.browser.hostile import HOSTILE
from tests.fixtures.watched import Watched, end

Enter = Callable[..., Any]


@pytest.fixture
def run(server: Server) -> Watched:
    run = Watched(server.store)
    run.finish("model")
    run.finish("sft", [{"iteration": at, "loss": 2.0 / at} for at in (1, 2, 3)])
    return run


def test_a_page_follows_its_run(server: Server, enter: Enter, run: Watched) -> None:
    page = enter("olga", "owner")
    page.click("a[href='/runs']")
    card = page.locator("[data-run=mine]")
    card.locator(".tag", has_text="to run").wait_for()
    card.get_by_role("link", name="mine").click()
    page.locator("#curves-of", has_text="Curves of sft").wait_for()
    assert page.locator("#curves polyline").count() == 1
    with run.held():
        run.progress(1)
        run.log({"iteration": 1, "objective/scores": 0.25, "objective/kl": 0.1})
        page.locator("#curves-of", has_text="Curves of ppo").wait_for()
        assert page.inner_text("#now-text") == "ppo 1 of 10 iterations · 0:02:10 left"
        run.log({"iteration": 2, "objective/scores": 0.5, "objective/kl": -2.0})
        page.locator("#alarm-list li", has_text="ppo, from 2 on: the KL was negative").wait_for()
        page.locator("#curves-at", has_text="iteration 2").wait_for()
        assert page.locator("#curves figure").count() == 2
        assert page.locator("#curves svg").first.get_attribute("aria-label") == "score, at last proxy 0.5"
        run.samples(2, *({"prompt": text, "response": text, "score": 1.0} for text in HOSTILE[:6]))
        page.locator(".sample").nth(5).wait_for()
        assert page.evaluate("window.pwned") is None
        assert page.locator(".sample script, .sample img, .sample iframe").count() == 0
        page.click("button.pick:text('sft')")
        page.locator("#curves-of", has_text="Curves of sft").wait_for()
        assert page.url.endswith("?step=sft")
        page.click("button.pick:text('sft')")
        page.locator("#curves-of", has_text="Curves of ppo").wait_for()
        run.rewrite({"iteration": 1, "objective/scores": 0.25, "objective/kl": 0.1})
        page.locator("#curves-at", has_text="iteration 1").wait_for()
        page.wait_for_selector("#alarms", state="hidden")
    page.locator("#state", has_text="interrupted").wait_for()
    page.wait_for_selector("#resume:not([hidden])")
    shutil.rmtree(run.folder)
    page.locator("#state", has_text="gone").wait_for()
    assert page.is_hidden("#resume")
    run.write_plan()
    page.locator("#state", has_text="interrupted").wait_for()


def test_a_run_is_stopped_after_a_question_and_gone_on_with(
    server: Server, enter: Enter, run: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = enter("olga", "owner")
    with run.process() as child:
        page.goto(f"{server.address}/runs/mine")
        page.click("#stop")
        assert f"Process {child.pid} on " in page.inner_text("#stop-whom")
        page.click("text=Let it run")
        page.wait_for_selector("#ask", state="hidden")
        page.click("#stop")
        page.keyboard.press("Escape")
        page.wait_for_selector("#ask", state="hidden")
        assert child.poll() is None
        page.click("#stop")
        page.click("text=Stop it")
        page.locator("#state", has_text="stopping").wait_for()
        page.wait_for_selector("#stop", state="hidden")
        assert end(child) == ["stopping", "ended"]
    monkeypatch.setattr(control, "_PROGRAM", "print('<b>what it says</b>'); raise SystemExit(2)")
    page.click("#resume")
    page.locator("#log", has_text="<b>what it says</b>").wait_for()
    page.locator("#about", has_text="ended with status 2").wait_for()
    run.recipe.write_text("model: other\n")
    page.locator("#why", has_text="was changed since").wait_for()
    page.wait_for_selector("#resume", state="hidden")


def test_a_page_says_that_it_is_out_of_date_and_comes_back(server: Server, enter: Enter, run: Watched) -> None:
    page = enter("olga", "owner")
    page.goto(f"{server.address}/runs/mine")
    page.locator("#curves-of", has_text="Curves of sft").wait_for()
    server.stop()
    page.locator("#stale", has_text="is not up to date").wait_for()
    with run.held():
        run.progress(4)
        server.start()
        page.locator("#now-text", has_text="ppo 4 of 10").wait_for(timeout=30_000)
        page.wait_for_selector("#stale", state="hidden")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(server: Server, enter: Enter, run: Watched, width: int) -> None:
    page = enter("olga", "owner", viewport={"width": width, "height": 900})
    fill(run)
    with run.held():
        for path in ("/runs", "/runs/mine"):
            page.goto(f"{server.address}{path}")
            page.wait_for_selector(".run, .sample")
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def fill(run: Watched) -> None:
    """As a run of some length would be."""
    run.progress(12, 28, 224.0)
    for at in range(1, 13):
        run.log(
            {
                "iteration": at,
                "objective/scores": 0.2 + 0.05 * at + 0.02 * (-1) ** at,
                "objective/kl": 0.4 * at - (3 if at == 9 else 0) * 2,
                "objective/kl_coef": 0.05,
                "objective/entropy": 3.1 - 0.1 * at,
                "response/mean_tokens": 22.0 + 3 * at,
                "response/distinct_2": 0.9 - 0.01 * at,
                "response/finished": 0.8,
                "policy/clipfrac_avg": 0.02 * at,
                "watch/gold": 0.3 + 0.01 * at,
            }
        )
    words = "A slow, sweet film about a lighthouse and the people who keep it. " * 4
    run.samples(
        12,
        *(
            {"prompt": "Write a line about a film.", "response": words[: 90 + 60 * i], "score": 0.4 + 0.1 * i}
            for i in range(4)
        ),
    )
    (run.folder / "log.txt").write_text(
        "\n2026-01-02 10:00:00: gone on with from a page\nppo: going on from its last checkpoint\n"
    )

"""What is left of a run that is not finished: where it stopped, and why, in its folder and at the top of its report."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from accord.errors import Interrupted, UserError
from accord.results import write_comparison, write_report
from accord.run import run_recipe
from accord.run_record import unfinished
from accord.store.artifacts import Store
from tests.fixtures.counting import World, killed_at, recipe, run, store, world

__all__ = ["store", "world"]


def told(world: World, store: Store) -> list[str]:
    said: list[str] = []
    run_recipe(
        recipe(),
        world.registry,
        store,
        finish=lambda at, _: write_report(at, store),
        say=said.append,
        min_checkpoint_seconds=0.0,
    )
    return said


def page(store: Store) -> str:
    return unescape((store.root / "runs/r/report.html").read_text())


def failing(error: Exception) -> Callable[[str, int], None]:
    def hook(name: str, iteration: int) -> None:
        if (name, iteration) == ("second", 2):
            raise error

    return hook


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (UserError("the disk <b>", where="r.yaml:3", remedy="Free it."), "r.yaml:3: the disk <b>"),
        (ValueError("no\nlonger"), "ValueError: no"),
    ],
)
def test_a_step_that_fails_leaves_a_report_of_what_has_run(
    world: World, store: Store, error: Exception, why: str
) -> None:
    world.hook = failing(error)
    with pytest.raises(type(error)):
        told(world, store)
    sentence = f"This run is not finished: 1 of its 2 steps are done. It stopped at 'second' ({why}). To come: second."
    html = page(store)
    assert sentence in html
    assert "<b>" not in (store.root / "runs/r/report.html").read_text()
    assert html.index("Not finished") < html.index('aria-label="Verdict"')
    write_report(store.root / "runs/r", store)
    assert sentence in page(store), "also when it is written anew"
    write_comparison([store.root / "runs/r"] * 2, store.root / "both.html")
    assert f"r (1): {sentence}" in unescape((store.root / "both.html").read_text())
    world.hook = lambda name, iteration: None
    told(world, store)
    assert "not finished" not in page(store)
    assert "stopped" not in json.loads((store.root / "runs/r/plan.json").read_text())


def test_ctrl_c_leaves_one_too(world: World, store: Store) -> None:
    world.hook = lambda *place: os.kill(os.getpid(), signal.SIGINT) if place == ("second", 2) else None
    with pytest.raises(Interrupted):
        told(world, store)
    assert "It stopped at 'second' (it was asked to stop). To come: second." in page(store)


def test_a_run_that_was_killed_says_where_it_is(world: World, store: Store) -> None:
    killed_at(world, store, "first", 3)
    write_report(store.root / "runs/r", store)
    assert "0 of its 2 steps are done. It stopped at 'first'. To come: first, second." in page(store)
    plan = json.loads((store.root / "runs/r/plan.json").read_text())
    assert "It is at 'first'." in unfinished(plan, runs=True)


def test_a_part_of_a_recipe_is_not_all_of_it(world: World, store: Store) -> None:
    run(world, store, until="first")
    write_report(store.root / "runs/r", store)
    assert "It stopped at 'second' (only what is up to 'first' was to run). To come: second." in page(store)


def test_a_report_that_fails_does_not_hide_the_error(world: World, store: Store) -> None:
    said: list[str] = []

    def broken(at: Path, done: object) -> None:
        raise OSError("no page")

    world.hook = failing(UserError("the first one"))
    with pytest.raises(UserError, match="the first one"):
        run_recipe(recipe(), world.registry, store, finish=broken, say=said.append)
    assert said[-1] == "what has run before UserError could not be reported: no page"

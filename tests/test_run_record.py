"""What is left of a run that is not finished: where it stopped, and why, in its folder and at the top of its report."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from accord.errors import Interrupted, UserError
from accord.plan import Plan
from accord.results import write_comparison, write_report
from accord.run import run_recipe
from accord.run_record import unfinished
from accord.steps.base import Job
from accord.store.artifacts import Store
from tests.fixtures.counting import World, killed_at, recipe, run, store, world

__all__ = ["store", "world"]


def told(world: World, store: Store, *overrides: str, inspect: Callable[[Plan], None] | None = None) -> list[str]:
    said: list[str] = []
    run_recipe(
        recipe(*overrides),
        world.registry,
        store,
        finish=lambda at, _: write_report(at, store),
        inspect=inspect,
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
    assert said[-1] == "no report could be written of what has run: no page"


def test_a_run_that_stops_leaves_the_policy_of_the_one_that_finished(world: World, store: Store) -> None:
    def count(job: Job) -> None:
        world.count(job)
        (job.work.out / "model").mkdir()
        (job.work.out / "model/config.json").write_text("{}")

    world.registry["count"] = replace(world.registry["count"], run=count)
    world.hook = failing(UserError("not yet"))
    with pytest.raises(UserError):
        told(world, store)
    policy = store.root / "runs/r/policy"
    assert not policy.exists(), "the policy of the first step is not what the run is to make"
    world.hook = lambda name, iteration: None
    told(world, store)
    finished = policy.resolve()
    assert finished == (store.root / "runs/r/steps/second/model").resolve()
    world.hook = failing(UserError("the disk"))
    with pytest.raises(UserError):
        told(world, store, "second.iterations=5")
    assert policy.resolve() == finished
    world.hook = lambda name, iteration: None
    told(world, store, "second.iterations=5")
    assert policy.resolve() == (store.root / "runs/r/steps/second/model").resolve() != finished


def test_what_is_refused_leaves_the_report_of_the_run_before(world: World, store: Store) -> None:
    def refuse(plan: Plan) -> None:
        raise UserError("it does not fit")

    told(world, store)
    folder = store.root / "runs/r"
    before = [(folder / name).read_bytes() for name in ("report.html", "results.json")]
    with pytest.raises(UserError, match="does not fit"):
        told(world, store, "first.iterations=5", inspect=refuse)
    assert [(folder / name).read_bytes() for name in ("report.html", "results.json")] == before
    told(world, store, "first.iterations=5")
    assert (folder / "results.json").read_bytes() != before[1]

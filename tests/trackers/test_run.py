"""Runs with trackers: nothing is run again because of one, and a resumed run sends no point twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from accord.errors import Interrupted, UserError
from accord.overrides import apply_overrides
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.store.artifacts import Store
from accord.trackers import known
from accord.trackers.base import Series
from accord.trackers.reports import Reports
from tests.fixtures.counting import TEXT, World, contents, recipe, run, store, world

__all__ = ["store", "world"]


class Kept:
    """What every series was sent, by its step."""

    def __init__(self) -> None:
        self.sent: dict[str, list[int]] = {}

    def open(self, name: str, series: Series, after: int) -> Kept.One:
        return self.One(self.sent.setdefault(series.step, []))

    class One:
        def __init__(self, sent: list[int]) -> None:
            self._sent = sent

        def log(self, iteration: int, values: Mapping[str, float]) -> None:
            assert set(values) == {"value"}
            self._sent.append(iteration)

        def close(self) -> None:
            pass


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    kept = Kept()
    monkeypatch.setattr(known, "find_spec", lambda name: object())
    monkeypatch.setattr("accord.run.Reports", partial(Reports, open_one=kept.open))
    return kept


WHOLE = {"first": [1, 2, 3, 4, 5, 6], "second": [1, 2, 3, 4]}


def test_a_tracker_runs_nothing_again_and_is_sent_what_was_logged(world: World, store: Store, kept: Kept) -> None:
    plain, _, _ = run(world, store)
    before = contents(plain)
    assert kept.sent == {}
    run_dir, records, _ = run(world, store, "report_to=wandb")
    assert kept.sent == WHOLE
    assert all(record.cached for record in records)
    assert contents(run_dir) == before
    run(world, store, "report_to=[wandb]")
    assert kept.sent == WHOLE


def test_a_run_that_is_stopped_and_gone_on_with(world: World, store: Store, kept: Kept, tmp_path: Path) -> None:
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    world.hook = lambda *place: os.kill(os.getpid(), signal.SIGINT) if place == ("first", 3) else None
    with pytest.raises(Interrupted):
        run(world, store, "report_to=[wandb]")
    assert kept.sent == {"first": [1, 2, 3]}
    world.hook = lambda name, iteration: None
    assert contents(run(world, store, "report_to=[wandb]")[0]) == expected
    assert kept.sent == WHOLE


def test_a_run_that_breaks_off_between_two_checkpoints(world: World, store: Store, kept: Kept) -> None:
    """The row is logged and sent, and its iteration is made again."""

    def broken(name: str, iteration: int) -> None:
        if (name, iteration) == ("first", 3):
            raise OSError("broken off")

    world.hook = broken
    with pytest.raises(OSError, match="broken off"):
        run(world, store, "report_to=[wandb]")
    world.hook = lambda name, iteration: None
    run(world, store, "report_to=[wandb]")
    assert kept.sent == WHOLE


def test_a_changed_setting_is_another_series(world: World, store: Store, kept: Kept) -> None:
    run(world, store, "report_to=[wandb]")
    run(world, store, "report_to=[wandb]", "second.iterations=2")
    assert kept.sent == {**WHOLE, "second": [1, 2, 3, 4, 1, 2]}


def test_trackers_change_no_key(world: World, kept: Kept) -> None:
    keys = [
        [step.key for step in make_plan(recipe(*sets), world.registry).steps] for sets in ((), ("report_to=wandb",))
    ]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), ("report_to: wandb", ("wandb",)), ("report_to: [a, b, a]", ("a", "b")), ("report_to: []", ())],
)
def test_trackers_of_a_recipe(text: str, names: tuple[str, ...]) -> None:
    assert parse_recipe(f"{text}\n{TEXT}", Path("r.yaml")).report_to == names


@pytest.mark.parametrize("value", ["3", "[1]", "{a: b}", '""', "[null]"])
def test_what_names_no_tracker(value: str) -> None:
    with pytest.raises(UserError, match="is not a list of trackers") as caught:
        parse_recipe(f"{TEXT}report_to: {value}\n", Path("r.yaml"))
    assert caught.value.where == "r.yaml:5:report_to"
    with pytest.raises(UserError, match="is not a list of trackers") as caught:
        apply_overrides(recipe(), [f"report_to={value}"])
    assert caught.value.where == f"--set report_to={value}"


def test_a_check_refuses_trackers_at_their_line(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no tracker 'tensorbord'") as caught:
        make_plan(parse_recipe(f"{TEXT}report_to: [tensorbord]\n", Path("r.yaml")), world.registry)
    assert caught.value.where == "r.yaml:5:report_to"
    monkeypatch.setattr(known, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="'mlflow' is not installed") as caught:
        make_plan(recipe("report_to=mlflow"), world.registry)
    assert (caught.value.where, caught.value.remedy) == (
        "--set report_to",
        "Install it: pip install 'accord[mlflow]'",
    )

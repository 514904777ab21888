"""Runs on machines that share a place: what one has made or begun, another goes on with."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from accord.computing import conditions_of
from accord.errors import Interrupted, UserError
from accord.store import unfinished
from accord.store.artifacts import Store
from accord.store.rows import Rows
from accord.store.workspace import Workspace
from tests.fixtures.counting import World, contents, killed_at, run, world
from tests.fixtures.remotes import Killed, break_, files_at, machine, put_at, remote, the_one, url

__all__ = ["url", "world"]


@pytest.fixture(autouse=True)
def after_each_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(unfinished, "_SHARE", 0)


def stopped_at(world: World, store: Store, name: str, at: int, fault: BaseException | None = None) -> None:
    def hook(*place: object) -> None:
        if place == (name, at):
            raise fault or Killed

    world.hook = hook
    with pytest.raises(type(fault) if fault else Killed):
        run(world, store)
    world.hook = lambda name, iteration: None


def test_a_second_machine_takes_all_from_the_first(tmp_path: Path, url: str):
    first = run(World(), machine(tmp_path, "a", url))[0]
    other, store = World(), machine(tmp_path, "b", url)
    second, records, said = run(other, store)
    assert other.ran == []
    assert all(record.cached for record in records)
    assert [line.split()[2] for line in said[:3]] == ["remote"] * 3
    assert contents(second) == contents(first)
    assert not [name for name in files_at(url) if name.startswith("work/")]
    _, _, said = run(other, machine(tmp_path, "b", url))
    assert [line.split()[2] for line in said[:3]] == ["cached"] * 3


def test_a_machine_that_changes_a_number_makes_what_depends_on_it(tmp_path: Path, url: str):
    run(World(), machine(tmp_path, "a", url))
    other = World()
    run(other, machine(tmp_path, "b", url), "second.iterations=5")
    assert other.ran == ["second"]


@pytest.mark.parametrize(("name", "at"), [("first", 4), ("first", 6), ("second", 2)])
def test_a_machine_that_is_lost(tmp_path: Path, name: str, at: int):
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    url = f"file://{tmp_path}/shared"
    killed_at(World(), machine(tmp_path, "a", url), name, at)
    other, did = World(), []
    other.hook = lambda *place: did.append(place)
    run_dir, _, said = run(other, machine(tmp_path, "b", url))
    assert did[0] == (name, at), "what the other machine had saved is not done again"
    assert f"{name}: going on from its last checkpoint" in said
    assert contents(run_dir) == expected
    assert not [one for one in files_at(url) if one.startswith("work/")]


def test_a_machine_that_comes_back_takes_what_is_further(tmp_path: Path, url: str):
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    stopped_at(World(), machine(tmp_path, "a", url), "first", 3)
    stopped_at(World(), machine(tmp_path, "b", url), "first", 5)
    back, did = World(), []
    back.hook = lambda *place: did.append(place)
    run_dir, _, _ = run(back, machine(tmp_path, "a", url))
    assert did[0] == ("first", 5)
    assert contents(run_dir) == expected


def test_what_is_further_here_is_kept(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    stopped_at(World(), store, "first", 3)
    lonely = Store(tmp_path / "a")
    lonely.remote = None
    stopped_at(World(), lonely, "first", 5)
    back, did = World(), []
    back.hook = lambda *place: did.append(place)
    run(back, machine(tmp_path, "a", url))
    assert did[0] == ("first", 5)


def test_a_fault_at_every_write_of_a_copy(tmp_path: Path, url: str):
    """Whatever fails, what is there is whole, and the work goes on from it or from the start to the same bytes."""
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    for at in (1, 4, 9, 15, 22, 40):
        place = f"{url}-{at}"
        store = machine(tmp_path, f"a{at}", place)
        break_(store, OSError(errno.EIO, "gone"), at=at)
        if at == 1:
            with pytest.raises(UserError, match="was not reached"):  # said at the start
                run(World(), store)
        else:
            stopped_at(World(), store, "second", 3)
        assert contents(run(World(), machine(tmp_path, f"b{at}", place))[0]) == expected


def test_a_stop_takes_the_copy_along(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unfinished, "MIN_SECONDS", 1e9)
    store, stop = machine(tmp_path, "a", url), False
    work = Workspace(
        store.work_folder("count", "k" * 64),
        min_checkpoint_seconds=0.0,
        stop=lambda: stop,
        copy=store.unfinished("count", "k" * 64),
    )
    work.checkpoint_or_stop(1, lambda: ({}, {"at": 1}))
    assert files_at(url) == {}, "it is too soon"
    stop = True
    work.metrics.write(2, loss=1.0)
    with pytest.raises(Interrupted):
        work.checkpoint_or_stop(2, lambda: ({}, {"at": 2}))
    other = machine(tmp_path, "b", url)
    found = Workspace(other.work_folder("count", "k" * 64), copy=other.unfinished("count", "k" * 64))
    checkpoint = found.resume()
    assert checkpoint is not None
    assert (checkpoint.iteration, checkpoint.state) == (2, {"at": 2})
    assert found.metrics.read() == [{"iteration": 2, "loss": 1.0}]
    names = [path.name for path in (found.folder / "checkpoints").iterdir()]
    assert names == ["000002"], "the last one alone"


def test_a_later_stage_that_counts_anew_replaces_its_own_copy(tmp_path: Path, url: str):
    store = machine(tmp_path, "a", url)
    folder, key = store.work_folder("count", "k" * 64), "k" * 64
    work = Workspace(folder, min_checkpoint_seconds=0.0, copy=store.unfinished("count", key))
    drawn = Rows(work, "drawn")
    for stage, iteration in (("asking", 5), ("learning", 1)):
        drawn.append([stage])
        work.checkpoint_or_stop(iteration, lambda stage=stage: ({}, {"stage": stage, "drawn": drawn.state()}))
    other = machine(tmp_path, "b", url)
    found = Workspace(other.work_folder("count", key), min_checkpoint_seconds=0.0, copy=other.unfinished("count", key))
    checkpoint = found.resume()
    assert checkpoint is not None
    assert (checkpoint.iteration, checkpoint.state["stage"]) == (1, "learning")
    assert list(Rows(found, "drawn", checkpoint.state["drawn"]).read()) == ["asking", "learning"]
    found.checkpoint_or_stop(0, lambda: ({}, {"stage": "measuring"}))
    third = machine(tmp_path, "c", url)
    checkpoint = Workspace(third.work_folder("count", key), copy=third.unfinished("count", key)).resume()
    assert checkpoint is not None
    assert checkpoint.state == {"stage": "measuring"}, "nor what was taken up from elsewhere"


def test_uploads_of_copies_take_a_tenth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(unfinished, "_SHARE", 10)
    url, now, sent = f"file://{tmp_path}/shared", 0.0, []
    store = machine(tmp_path, "a", url)
    copy = unfinished.Unfinished(
        remote(store), store.root / "work" / "x", store.root / "incoming", 600.0, clock=lambda: now
    )
    checkpoints = copy._checkpoints()
    send = remote(store).send

    def slow(*args: object, **kwargs: object) -> bool:
        nonlocal now
        sent.append(now)
        now += 100.0
        return send(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(remote(store), "send", slow)
    for iteration in range(1, 20):
        now += 120.0
        checkpoints.save(iteration, {}, {})
        copy.save(stopping=False)
    assert sent == [600.0, 600.0 + 100.0 + 1080.0]
    assert capsys.readouterr().err == "", "it is no news"


def test_work_of_another_precision_is_not_gone_on_with(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]):
    def open_work(name: str, dtype: str) -> Workspace:
        store = machine(tmp_path, name, url)
        copy = store.unfinished("count", "k" * 64)
        return Workspace(
            store.work_folder("count", "k" * 64), min_checkpoint_seconds=0.0, conditions={"dtype": dtype}, copy=copy
        )

    open_work("a", "bfloat16").checkpoint_or_stop(1, lambda: ({}, {}))
    assert open_work("b", "float32").resume() is None
    assert "computed with dtype bfloat16, and is not gone on with here" in capsys.readouterr().err
    assert open_work("c", "bfloat16").resume() is not None


@pytest.mark.parametrize("wrong", ["torn", "gone", "changed"])
def test_a_copy_that_is_damaged(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], wrong: str):
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    stopped_at(World(), machine(tmp_path, "a", url), "first", 4)
    name = the_one(url, "state.json")
    content = files_at(url)[name]
    put_at(url, name, {"torn": content[:-3], "gone": None, "changed": content.replace(b"value", b"valor")}[wrong])
    assert contents(run(World(), machine(tmp_path, "b", url))[0]) == expected
    assert "is damaged: checkpoints/000003/state.json" in capsys.readouterr().err


def test_a_run_goes_on_without_the_place_and_uploads_later(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
):
    store, lost = machine(tmp_path, "a", url), World()
    everything = ("put_file", "pipe_file", "mv", "link", "rm_file", "makedirs", "cat_file", "get_file", "find")

    def cut(name: str, iteration: int) -> None:
        if (name, iteration) == ("first", 2):
            break_(store, ConnectionError("no route"), operations=everything)

    lost.hook = cut
    run_dir, records, said = run(lost, store)
    assert len(records) == 3
    assert said[-1] == f"2 artifacts are here, and not yet at {url}: the same command uploads what is left"
    assert "warning: " in capsys.readouterr().err
    again = World()
    _, _, said = run(again, machine(tmp_path, "a", url))
    assert again.ran == []
    assert "not yet" not in said[-1]
    other = World()
    assert contents(run(other, machine(tmp_path, "b", url))[0]) == contents(run_dir)
    assert other.ran == []


@pytest.mark.parametrize(
    "fault", [PermissionError(errno.EACCES, "Access Denied"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_place_that_cannot_be_written_is_said_before_the_first_step(
    tmp_path: Path, url: str, world: World, fault: OSError
):
    store = machine(tmp_path, "a", url)
    break_(store, fault)
    with pytest.raises(UserError, match=r"cannot be written|no room left"):
        run(world, store)
    assert world.ran == []
    run(World(), machine(tmp_path, "b", url))
    reader = machine(tmp_path, "c", url)
    break_(reader, fault)
    run(world, reader)
    assert world.ran == [], "who only reads needs no right to write"


def test_the_manifest_of_a_copy_says_whose_it_is(tmp_path: Path, url: str, world: World):
    stopped_at(world, machine(tmp_path, "a", url), "first", 4)
    (name,) = (one for one in files_at(url) if one.startswith("work/") and one.count("/") == 2)
    manifest = json.loads(files_at(url)[name])
    assert manifest["iteration"] == 3
    assert manifest["host"] == os.uname().nodename
    assert manifest["conditions"] == conditions_of(world.registry["count"])

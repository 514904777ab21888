"""Runs that are stopped, locked out, or lack space. The steps are made up: they count, and write what they counted."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from accord.errors import Interrupted, UserError
from accord.run import run_recipe
from accord.steps.base import Job, StepKind
from accord.store.artifacts import Store
from accord.store.lock import lock
from accord.store.spending import from_json, processor_seconds
from tests.fixtures.counting import ModelConfig, World, contents, recipe, run, store, world

__all__ = ["store", "world"]


def test_a_damaged_input_stops_the_step_that_reads_it(world: World, store: Store):
    _, records, _ = run(world, store, until="first")
    path = records[1].artifact.file("value.json")
    path.write_text("".join(reversed(path.read_text())))
    with pytest.raises(UserError, match=r"value.json is not what was written") as caught:
        run(world, store)
    assert str(records[1].artifact.path) in caught.value.remedy
    assert world.ran == ["model", "first"]


def test_a_locked_step(world: World, store: Store):
    _, records, _ = run(world, store)
    shut = records[2]
    for path in shut.artifact.path.iterdir():
        path.unlink()
    folder = store.work_folder("count", shut.key)
    with lock(folder.with_name(f"{folder.name}.lock"), "it"), pytest.raises(UserError) as caught:
        run(world, store)
    assert f"the step 'second' is being worked on by process {os.getpid()}" in caught.value.what
    run(world, store)


def test_a_work_folder_left_by_a_kill_after_publishing_goes(world: World, store: Store):
    _, records, _ = run(world, store)
    left = store.work_folder("count", records[1].key)
    (left / "checkpoints").mkdir(parents=True)
    _, records, _ = run(world, store)
    assert records[1].cached
    assert not left.exists()


def test_the_first_ctrl_c_saves_and_the_same_command_goes_on(
    world: World, store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    expected = contents(run(World(), Store(tmp_path / "whole"))[0])
    world.hook = lambda *place: os.kill(os.getpid(), signal.SIGINT) if place == ("first", 3) else None
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted):
        run(world, store)
    assert "stopping at the next safe point" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    world.hook = lambda name, iteration: None
    run_dir, _, said = run(world, store)
    assert "first: going on from its last checkpoint" in said
    assert contents(run_dir) == expected


def test_a_second_ctrl_c_stops_at_once(world: World, store: Store):
    def twice(name: str, iteration: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    world.hook = twice
    with pytest.raises(KeyboardInterrupt):
        run(world, store)


def test_a_stop_in_a_step_without_checkpoints_comes_after_it(world: World, store: Store):
    def stop(job: Job) -> None:
        world.model(job)
        os.kill(os.getpid(), signal.SIGINT)

    world.registry["model"] = StepKind("model", 1, ModelConfig, stop)
    with pytest.raises(Interrupted):
        run(world, store)
    assert world.ran == ["model"]
    run(world, store)
    assert world.ran == ["model", "first", "second"]


def test_a_full_disk_inside_a_step(world: World, store: Store):
    def full(name: str, iteration: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    world.hook = full
    with pytest.raises(UserError, match="the disk is full") as caught:
        run(world, store)
    assert "Free some space" in caught.value.remedy


def test_too_little_space_is_said_before_anything_runs(world: World, store: Store):
    with pytest.raises(UserError, match="GiB are free, and a run needs"):
        run_recipe(recipe(), world.registry, store, say=lambda line: None, min_free_bytes=1 << 60)
    assert world.ran == []
    run(world, store)
    run_recipe(recipe(), world.registry, store, say=lambda line: None, min_free_bytes=1 << 60)  # nothing to run


def test_a_store_that_cannot_be_made(world: World, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the store cannot be written") as caught:
        run_recipe(recipe(), world.registry, Store(tmp_path / "file" / "store"), say=lambda line: None)
    assert "--store" in caught.value.remedy


def test_one_run_has_one_process(world: World, store: Store) -> None:
    """With other settings too: the two would take turns in one folder."""
    with (
        lock(store.root / "runs" / ".r.lock", "the run 'r'"),
        pytest.raises(UserError, match="the run 'r' is being worked on by process"),
    ):
        run(world, store)


def test_what_an_attempt_has_used_counts_though_a_kill_has_lost_it(world: World, store: Store) -> None:
    def work(name: str, iteration: int) -> None:
        began = processor_seconds()
        while name == "first" and iteration == 3 and processor_seconds() < began + 0.2:
            pass

    child = os.fork()
    if child == 0:

        def die(name: str, iteration: int) -> None:
            work(name, iteration)
            if (name, iteration) == ("first", 4):
                os.kill(os.getpid(), signal.SIGKILL)

        world.hook = die
        try:
            run(world, store)
        finally:
            os._exit(1)  # not reached
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    _, records, _ = run(world, store)
    (row,) = from_json(records[1].artifact.manifest["spent"])
    assert (row.device, row.attempts) == ("cpu", 2)
    assert row.processor_seconds >= 0.2, "the busy iteration was before the kill"
    assert row.seconds >= row.processor_seconds * 0.5
    (other,) = from_json(records[2].artifact.manifest["spent"])
    assert other.attempts == 1

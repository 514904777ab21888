"""What one of two processes does by itself, and what both make for it meanwhile."""

from __future__ import annotations

import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from accord.engine import group
from accord.engine.leading import Joint, lead
from accord.errors import UserError
from accord.store.best import Best
from accord.store.sharing import Following, Leading
from accord.store.tensors import write_tensors
from tests.engine.test_group import Meeting, Played, by_two

NAMES = ("a", "b", "c", "here")


def joint(made: list[Any] | None = None, add: float = 0.0) -> Joint:
    """Each process has one row of each but one; `made` is told of each by its process."""
    own = {name: torch.full((1, 2), group.current().rank + n + add) for n, name in enumerate(NAMES[:-1])}

    def make(name: str) -> Tensor | None:
        if made is not None:
            made.append((group.current().rank, name, threading.current_thread() is threading.main_thread()))
        rows = group.current().gather(own[name].flatten())
        return torch.stack(rows) if group.current().rank == 0 else None

    outlines = {name: torch.empty(2, 2, device="meta") for name in own} | {"here": torch.empty(1, device="meta")}
    return Joint(outlines, {"here": torch.tensor([group.current().rank + 5.0])}, make)


def test_what_the_leading_one_asks_for_all_make_in_its_order(tmp_path: Path) -> None:
    made: list[Any] = []

    def saved() -> Any:
        first, second = joint(made), joint(made, add=10.0)

        def write() -> float:
            write_tensors(first, tmp_path / "file")
            time.sleep(0.1)  # others are told that it goes on
            return float(second["c"].sum())

        assert list(first) == list(NAMES)
        assert "a" in first
        assert "d" not in first
        return lead(write, {}, first, {"x": torch.zeros(1)}, second)

    assert by_two(saved) == [50.0, None]  # 2 (12 + 13)
    found = load_file(tmp_path / "file")
    assert found["b"].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert found["here"].tolist() == [5.0], "what each has is the leading one's"
    for rank in range(2):
        assert [name for own, name, _ in made if own == rank] == ["a", "b", "c", "c"]


def test_one_lives_at_a_time_in_the_one_that_writes(tmp_path: Path) -> None:
    living: list[weakref.ref[Any]] = []
    most = []

    def saved() -> None:
        tensors = joint()
        make = tensors.make

        def watched(name: str) -> Tensor | None:
            most.append(sum(one() is not None for one in living))
            tensor = make(name)
            if tensor is not None:
                living.append(weakref.ref(tensor.untyped_storage()))
            return tensor

        tensors.make = watched  # type: ignore[method-assign]
        lead(lambda: write_tensors(tensors, tmp_path / "file"), tensors)

    by_two(saved)
    assert most == [0] * 6


def test_nobody_asks_where_the_others_do_not_know_of_it() -> None:
    def asked() -> None:
        tensors = joint()
        with pytest.raises(AssertionError, match="outside of `lead`"):
            tensors["a"]
        lead(lambda: None, tensors)
        with pytest.raises(AssertionError, match="outside of `lead`"):
            tensors["a"]

    by_two(asked)


@pytest.mark.parametrize("patience", [0.02, 20.0])
def test_an_exchange_that_fails_ends_the_work(patience: float) -> None:
    """Another process is gone: the work is not left waiting for what nobody makes."""
    asked = []

    class Gone(Played):
        def gather(self, values: Tensor) -> list[Tensor]:
            raise RuntimeError("connection closed by peer")

    alone = Gone(0, Meeting(), in_step=False)
    alone.patience = patience
    with group.joined(alone):
        tensors = joint()

        def work() -> None:
            time.sleep(0.1)
            for name in ("a", "b"):
                with pytest.raises(RuntimeError, match="closed by peer"):
                    asked.append(tensors[name])

        with pytest.raises(RuntimeError, match="closed by peer"):
            lead(work, tensors)
    assert not asked


def test_checkpoints_and_the_best_are_written_by_one_and_read_by_both(tmp_path: Path) -> None:
    def workspace(again: str) -> Leading | Following:
        agreed, leading = group.agreed, lead
        if group.current().rank == 0:
            return Leading(tmp_path / "work", agreed=agreed, leading=leading, min_checkpoint_seconds=0.0)
        return Following(tmp_path / "work", tmp_path / f"scratch{again}", agreed=agreed, leading=leading)

    def first() -> None:
        work = lead(lambda: workspace("")) or workspace("")
        assert work.resume() is None
        best = Best(work.led, lead=work.lead)
        for at, value in enumerate((0.5, 0.7, 0.6)):
            best.offer(at, value, joint(add=float(at)))
        assert float(best.weights()["a"][1, 1]) == 2.0
        work.checkpoint_or_stop(3, lambda: ({"learner": joint(), "best": joint(add=7.0)}, {"guard": best.state()}))
        best.offer(4, 0.9, joint(add=4.0))

    def second() -> Any:
        work = lead(lambda: workspace("-again")) or workspace("-again")
        checkpoint = work.resume()
        assert checkpoint is not None
        found = Best(work.led, checkpoint.state["guard"], lead=work.lead)
        tensors = [checkpoint.tensors("learner"), checkpoint.tensors("best"), found.weights()]
        return checkpoint.iteration, found.at, [float(one["c"][1, 0]) for one in tensors], float(tensors[0]["here"])

    by_two(first)
    assert by_two(second) == [(3, 1, [3.0, 10.0, 4.0], 5.0)] * 2
    assert [path.name for path in sorted((tmp_path / "work" / "best").iterdir())] == [
        "000001.safetensors",
        "000004.safetensors",
    ]
    assert not any(tmp_path.glob("scratch*/best")), "what is large is read where it is"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_disk_that_is_full_is_said_by_the_one_that_writes(tmp_path: Path) -> None:
    """The other, which waits for the next exchange, is ended by who has started both: here the meeting breaks up."""
    meeting = Meeting()
    meeting.barrier = threading.Barrier(2, timeout=2)
    raised: list[BaseException] = []

    def play(rank: int) -> None:
        with group.joined(Played(rank, meeting, in_step=False)):
            tensors = joint()
            try:
                lead(lambda: Best(tmp_path).offer(1, 0.5, tensors), tensors)
            except UserError as error:
                raised.append(error)
                meeting.barrier.abort()
            except threading.BrokenBarrierError:
                pass

    with pytest.MonkeyPatch.context() as patch:

        def full(path: Path, writer: Any) -> None:
            writer(Path("/dev/full"))

        patch.setattr("accord.store.best.atomic.files.write", full)
        threads = [threading.Thread(target=play, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    (error,) = raised
    assert "the disk is full" in str(error)

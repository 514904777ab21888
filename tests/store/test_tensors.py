"""Tensors written one at a time: the same bytes, and no more than one in memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from accord.errors import UserError
from accord.store.best import Best
from accord.store.checkpoints import Checkpoints
from accord.store.tensors import Streamed, write_tensors

TENSORS = {
    "w.b": torch.arange(6.0).view(2, 3),
    "w.a": torch.tensor(0.5),
    "half": torch.arange(3, dtype=torch.bfloat16),
    "half16": torch.arange(3, dtype=torch.float16),
    "rng": torch.arange(5, dtype=torch.uint8),
    "step": torch.tensor(7),
    "double": torch.ones(2, dtype=torch.float64),
    "few": torch.ones(2, dtype=torch.int32),
    "fewer": torch.ones(3, dtype=torch.int16),
    "least": torch.ones(3, dtype=torch.int8),
    "flags": torch.tensor([True, False]),
    'ñ "quoted"': torch.zeros(0, 4),
}


class Made(Streamed):
    """Tensors of `num` numbers that are made when they are asked for. most: of them that lived at once."""

    def __init__(self, names: list[str], num: int, broken: str | None = None) -> None:
        self._names, self._num, self._broken = names, num, broken
        self._living: list[weakref.ref[Tensor]] = []
        self.most = 0

    @property
    def outlines(self) -> Mapping[str, Tensor]:
        return {name: torch.empty(self._num, device="meta") for name in self._names}

    def __getitem__(self, name: str) -> Tensor:
        if name == self._broken:
            raise OSError(28, "No space left on device")
        made = torch.full((self._num,), float(self._names.index(name)))
        self._living = [one for one in (*self._living, weakref.ref(made.untyped_storage())) if one() is not None]
        self.most = max(self.most, len(self._living))
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@pytest.mark.parametrize("num", range(len(TENSORS) + 1))
def test_the_bytes_are_those_of_safetensors(tmp_path: Path, num: int) -> None:
    """With as many tensors the header has another length each time."""
    tensors = dict(list(TENSORS.items())[:num])
    save_file(tensors, tmp_path / "theirs")
    write_tensors(tensors, tmp_path / "ours")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_what_is_turned_or_a_part_is_written_as_it_is_seen(tmp_path: Path) -> None:
    whole = torch.arange(12.0, requires_grad=True).view(3, 4)
    write_tensors({"turned": whole.T, "part": whole[1:, 1]}, tmp_path / "file")
    found = load_file(tmp_path / "file")
    assert torch.equal(found["turned"], whole.T)
    assert torch.equal(found["part"], torch.tensor([5.0, 9.0]))


def test_one_lives_at_a_time(tmp_path: Path) -> None:
    made = Made([f"n{n}" for n in range(5)], 1000)
    Checkpoints(tmp_path / "some").save(1, {"learner": made}, {})
    best = Best(tmp_path / "best")
    best.offer(1, 0.5, made)
    assert made.most == 1
    latest = Checkpoints(tmp_path / "some").latest()
    assert latest is not None
    for found in (latest.tensors("learner"), best.weights()):
        assert {name: one.mean().item() for name, one in found.items()} == {f"n{n}": n for n in range(5)}


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    checkpoints, best = Checkpoints(tmp_path / "some"), Best(tmp_path / "best")
    checkpoints.save(1, {"learner": Made(["a", "b"], 3)}, {})
    best.offer(1, 0.5, Made(["a", "b"], 3))
    with pytest.raises(UserError, match="the disk is full"):
        checkpoints.save(2, {"learner": Made(["a", "b"], 3, broken="b")}, {})
    with pytest.raises(UserError, match="the disk is full"):
        best.offer(2, 0.6, Made(["a", "b"], 3, broken="b"))
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.iteration == best.at == 1
    assert sorted(best.weights()) == ["a", "b"]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["000001"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_disk_that_is_full_says_so_itself() -> None:
    with pytest.raises(OSError, match="No space left"):
        write_tensors({"a": torch.zeros(100_000)}, Path("/dev/full"))

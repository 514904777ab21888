"""The best weights so far, on the disk of the work."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from accord.errors import UserError
from accord.store.best import FOLDER, Best


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((3,), value), "b": torch.tensor([value])}


def names(work: Path) -> list[str]:
    return sorted(path.name for path in (work / FOLDER).glob("*"))


def test_the_best_is_kept_and_the_others_are_removed(tmp_path: Path) -> None:
    best = Best(tmp_path)
    assert best.at is None
    for at, value in enumerate([0.5, 0.2, 0.9, 0.9, math.nan, math.inf, 0.1]):
        best.offer(at, value, weights(value))
    assert (best.at, best.value) == (2, 0.9), "of equal ones the first; what is no number is not the best"
    assert names(tmp_path) == ["000002.safetensors"]
    assert torch.equal(best.weights()["a"], torch.full((3,), 0.9))


def test_it_goes_on_from_every_checkpoint_that_is_kept(tmp_path: Path) -> None:
    best, states = Best(tmp_path), []
    for at in range(5):
        best.offer(at, float(at), weights(at))
        states.append(best.state())
    best.offer(5, 5.0, weights(5))
    assert names(tmp_path) == [f"{at:06d}.safetensors" for at in (2, 3, 4, 5)]
    for at in (3, 4):  # two checkpoints are kept
        again = Best(tmp_path, states[at])
        assert (again.at, again.value) == (at, float(at))
        assert torch.equal(again.weights()["b"], torch.tensor([float(at)]))
    again = Best(tmp_path, states[4])
    again.offer(5, 5.0, weights(5))
    assert names(tmp_path) == [f"{at:06d}.safetensors" for at in (2, 3, 4, 5)], "those of the checkpoints stay"


def test_without_a_checkpoint_nothing_is_left(tmp_path: Path) -> None:
    Best(tmp_path).offer(3, 1.0, weights(1))
    assert Best(tmp_path).at is None
    assert names(tmp_path) == []


def test_before_the_first_measurement(tmp_path: Path) -> None:
    state = Best(tmp_path).state()
    assert state["value"] is None
    again = Best(tmp_path, state)
    again.offer(1, -5.0, weights(1))
    assert again.at == 1


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    best = Best(tmp_path)
    best.offer(1, 1.0, weights(1))
    path = tmp_path / FOLDER / "000001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="not what was written"):
        best.weights()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    best = Best(tmp_path)
    best.offer(1, 1.0, weights(1))

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("accord.store.best.atomic.files.rename", full)
    with pytest.raises(UserError, match="disk is full"):
        best.offer(2, 2.0, weights(2))
    assert names(tmp_path) == ["000001.safetensors"]
    assert best.at == 1

"""Checkpoints: when, what, how many, and which one is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from accord.store.checkpoints import Checkpoints


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def save(checkpoints: Checkpoints, iteration: int) -> None:
    checkpoints.save(iteration, {"policy": {"w": torch.full((4,), float(iteration))}}, {"at": iteration})


def test_saving_takes_no_more_than_a_tenth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, min_seconds=10.0, clock=clock)
    write = Checkpoints._write

    def slow(*given: Any) -> None:
        clock.now += 5.0
        write(*given)

    monkeypatch.setattr(Checkpoints, "_write", slow)
    checkpoints.save(1, {}, {})
    clock.now = 5.0 + 44.9
    assert not checkpoints.due()
    clock.now = 5.0 + 45.0
    assert checkpoints.due()


def test_due(tmp_path: Path):
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, min_seconds=10.0, clock=clock)
    clock.now = 9.9
    assert not checkpoints.due()
    clock.now = 10.0
    assert checkpoints.due()
    save(checkpoints, 1)
    assert not checkpoints.due()
    clock.now = 20.0
    assert checkpoints.due()


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path):
    generator = torch.Generator().manual_seed(5)
    shared = torch.randn(3, 4, generator=generator, requires_grad=True)
    groups = {
        "policy": {
            "half": shared.to(torch.bfloat16),
            "turned": shared.T,
            "empty": torch.zeros(0),
            "one": torch.tensor(2),
        },
        "rng": {"cpu": generator.get_state()},
    }
    state = {"beta": 0.1 + 0.2, "ids": [1, 2], "none": None, "infinite": float("inf")}
    assert Checkpoints(tmp_path).latest() is None
    Checkpoints(tmp_path).save(7, groups, state)
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    assert (found.iteration, found.state) == (7, state)
    for group, named in groups.items():
        loaded = found.tensors(group)
        assert set(loaded) == set(named)
        for name, tensor in named.items():
            assert loaded[name].dtype == tensor.dtype
            assert torch.equal(loaded[name], tensor)


def test_the_last_two_are_kept(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for iteration in (1, 2, 3, 4):
        save(checkpoints, iteration)
    assert len(list(tmp_path.iterdir())) == 2
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.iteration == 4


@pytest.mark.parametrize("name", ["policy.safetensors", "state.json", "manifest.json"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    save(checkpoints, 2)
    newest = max(tmp_path.iterdir())
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 1
    (newest / name).write_bytes(data)
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.iteration == 1
    assert float(latest.tensors("policy")["w"][0]) == 1.0
    assert name in capsys.readouterr().err
    # The one that is trusted is not pushed out by damaged ones that were newer.
    save(checkpoints, 2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["000001", "000002"]


def test_all_damaged_is_none(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    (tmp_path / "000001" / "state.json").unlink()
    assert checkpoints.latest() is None
    assert not checkpoints.any()


def test_saving_the_same_iteration_again(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 5)
    save(checkpoints, 5)
    latest = checkpoints.latest()
    assert latest is not None
    assert latest.path.name == "000002"

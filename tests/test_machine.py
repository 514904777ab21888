"""What a machine has, with the limits of made-up containers."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from accord import machine
from accord.machine import cpu_quota, existing, free_disk, memory, processor, usable_processors


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


@pytest.fixture
def total(monkeypatch: pytest.MonkeyPatch) -> int:
    seen = type("Seen", (), {"total": 64 << 30, "available": 50 << 30})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: seen)
    return 64 << 30


def test_without_limits(tmp_path: Path, own: Path, total: int):
    assert memory(tmp_path, own) == machine.Memory(total, total, 50 << 30)
    assert cpu_quota(tmp_path, own) is None
    write(tmp_path, memory__max="max\n", cpu__max="max 100000\n")
    assert memory(tmp_path, own).limit == total
    assert cpu_quota(tmp_path, own) is None


def test_a_container(tmp_path: Path, own: Path, total: int):
    """Version 2: of 8 GiB 3 are used, 1 of them by files that can be dropped."""
    own.write_text("0::/\n")
    write(
        tmp_path,
        memory__max=str(8 << 30),
        memory__current=str(3 << 30),
        memory__stat=f"anon 5\ninactive_file {1 << 30}\n",
        cpu__max="150000 100000\n",
    )
    assert memory(tmp_path, own) == machine.Memory(total, 8 << 30, 6 << 30)
    assert cpu_quota(tmp_path, own) == 1.5


def test_a_group_within_a_group(tmp_path: Path, own: Path, total: int):
    own.write_text("0::/outer/inner\n")
    write(tmp_path / "outer", memory__max=str(4 << 30), cpu__max="400000 100000")
    write(tmp_path / "outer/inner", memory__max=str(6 << 30), cpu__max="max 100000")
    assert memory(tmp_path, own).limit == 4 << 30
    assert cpu_quota(tmp_path, own) == 4


def test_version_1(tmp_path: Path, own: Path, total: int):
    own.write_text("4:memory:/job\n1:cpu,cpuacct:/\n")
    write(tmp_path / "memory/job", memory__limit_in_bytes=str(2 << 30), memory__usage_in_bytes=str(1 << 30))
    write(tmp_path / "memory", memory__limit_in_bytes=str((1 << 63) - 4096))
    write(tmp_path, cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    assert memory(tmp_path, own) == machine.Memory(total, 2 << 30, 1 << 30)
    assert cpu_quota(tmp_path, own) == 2
    write(tmp_path, cpu__cfs_quota_us="-1")
    assert cpu_quota(tmp_path, own) is None


def test_processors(tmp_path: Path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Processor\nflags\t\t: fpu avx512_bf16 avx2\n\nprocessor\t: 1\n")
    assert processor(info) == ("A Processor", ("avx2", "avx512_bf16"))
    info.write_text("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n")
    assert processor(info)[1] == ("bf16", "i8mm", "asimd")
    name, features = processor(tmp_path / "none")
    assert name
    assert features == ()
    assert usable_processors() >= 1


def test_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path):
    assert existing(tmp_path / "a/b/c") == tmp_path
    assert free_disk(tmp_path / "a/b/c") > 0

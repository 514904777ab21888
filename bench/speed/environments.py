"""An environment of its own for each peer, made when it is first wanted: bench/.envs/NAME, from bench/peers/NAME.txt.

A stamp in it holds the digest of what it was made from; with other requirements it is made anew. PIP_ARGS reaches pip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "bench" / ".envs"
PEERS = ROOT / "bench" / "peers"
CONSTRAINTS = ROOT / "constraints.txt"
OWN = "accord"  # the environment that this runs in
# By the versions that Accord is tested with; the others say all of theirs.
CONSTRAINED = ("trl116", "trl19", "transformers")
_STAMP = ".made-from"


def python_of(name: str) -> Path:
    """The interpreter of an environment, which is made if it is not there, or was made from something else."""
    if name == OWN:
        return Path(sys.executable)
    folder, wanted = FOLDER / name, digest(requirements_of(name))
    if not is_made(folder, wanted):
        make(name, folder)
        (folder / _STAMP).write_text(wanted, encoding="utf-8")
    return folder / "bin" / "python"


def requirements_of(name: str) -> list[Path]:
    """The files that an environment is made from: its requirements, what is installed without its own, constraints."""
    files = [PEERS / f"{name}.txt", PEERS / f"{name}.no-deps.txt"]
    return [file for file in files if file.is_file()] + ([CONSTRAINTS] if name in CONSTRAINED else [])


def digest(files: list[Path]) -> str:
    """Of names and contents; comments and empty lines do not count."""
    found = hashlib.sha256()
    for file in files:
        lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
        found.update("\n".join([file.name, *filter(None, lines), ""]).encode())
    return found.hexdigest()


def is_made(folder: Path, wanted: str) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted


def make(name: str, folder: Path) -> None:
    """Raises CalledProcessError where pip fails."""
    print(f"making {folder}", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += os.environ.get("PIP_ARGS", "").split()
    constraint = ["--constraint", str(CONSTRAINTS)] if name in CONSTRAINED else []
    subprocess.run([*pip, *constraint, "--requirement", str(PEERS / f"{name}.txt")], check=True)
    alone = PEERS / f"{name}.no-deps.txt"
    if alone.is_file():
        subprocess.run([*pip, "--no-deps", "--requirement", str(alone)], check=True)

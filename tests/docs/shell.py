"""What a page's program calls for the blocks that are no Python."""

from __future__ import annotations

import subprocess
from pathlib import Path


def write(name: str, text: str) -> None:
    path = Path(name)
    assert not path.is_absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def shell(commands: str, *, fails: bool) -> None:
    print(f"$ {commands}", flush=True)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], check=False)
    assert (done.returncode != 0) == fails, f"status {done.returncode} of: {commands}"
    assert done.returncode in (0, 1, 2), f"status {done.returncode} of: {commands}"

"""`accord cluster`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def accord(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accord", "cluster", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


def test_up_status_down() -> None:
    pytest.importorskip("ray")
    try:
        up = accord("up", "--port", "6397", "--cpus", "3")
        assert up.returncode == 0, up.stderr
        assert "a Ray cluster is at 127.0.0.1:6397" in up.stdout
        seen = accord("status", "--address", "127.0.0.1:6397", "--json")
        (node,) = json.loads(seen.stdout)
        assert (node["alive"], node["cpus"], node["free_cpus"]) == (True, 3, 3)
    finally:
        down = accord("down")
    assert down.returncode == 0, down.stderr
    gone = accord("status", "--address", "127.0.0.1:6397")
    assert gone.returncode == 2
    assert "the Ray cluster is not reached" in gone.stderr

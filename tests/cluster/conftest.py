"""Several processes, and a Ray cluster on this machine: run by `make test-cluster`, and by nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

REQUIRED = "ACCORD_REQUIRE_CLUSTER"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get(REQUIRED):
        return
    here = Path(__file__).parent
    skip = pytest.mark.skip(reason="clusters are tested by make test-cluster")
    for item in items:
        if here in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the workers are to compute, who find the tests' own programs, too."""
    monkeypatch.setenv("ACCORD_DTYPE", "float32")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH", "")])))


@pytest.fixture(scope="session")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of prompts with answers, of different lengths."""
    path = tmp_path_factory.mktemp("asked") / "asked.jsonl"
    words = ["a", "film", "that", "is", "long", "and", "slow", "but", "never", "dull", "and", "often", "very", "funny"]
    rows = [
        {"prompt": f"Write about {' '.join(words[: 1 + n % 9])}.", "completion": " ".join(words[n % 5 : 5 + n % 8])}
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path

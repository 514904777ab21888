"""Several processes, and a Ray cluster on this machine: run by `make test-cluster`, and by nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

REQUIRED = "ACCORD_REQUIRE_CLUSTER"
os.environ.setdefault("RAY_AUTH_MODE", "token")  # read while Ray is imported, which a test may do before Accord


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
    """A file of prompts with answers, of different lengths; every third prompt is an attack."""
    path = tmp_path_factory.mktemp("asked") / "asked.jsonl"
    words = ["a", "film", "that", "is", "long", "and", "slow", "but", "never", "dull", "and", "often", "very", "funny"]
    rows = [
        {
            "prompt": f"Write about {' '.join(words[: 1 + n % 9])}.",
            "completion": " ".join(words[n % 5 : 5 + n % 8]),
            **({"risk_category": "theft"} if n % 3 == 0 else {}),
        }
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of preferences, of different lengths; others are in held.jsonl beside it."""
    path = tmp_path_factory.mktemp("compared") / "compared.jsonl"
    words = ["very", "good", "and", "well", "made", "or", "rather", "dull", "and", "far", "too", "long"]
    rows = [
        {"prompt": f"Say {n}.", "chosen": " ".join(words[: 2 + n % 4]), "rejected": " ".join(words[5 : 7 + n % 6])}
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:18]), encoding="utf-8")
    path.with_name("held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[18:]), encoding="utf-8")
    return path

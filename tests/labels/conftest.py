from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.labels.database import Database
from accord.labels.migrate import open_labels


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    database = open_labels(tmp_path / "labels.db")
    database.now = clock
    yield database
    database.close()

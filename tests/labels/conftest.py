from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accord.labels.database import Database
from tests.fixtures.databases import new_database


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
    with new_database(tmp_path) as database:
        database.now = clock
        yield database

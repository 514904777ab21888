from __future__ import annotations

from pathlib import Path

from tests.fixtures.databases import place
from tests.labels.load import run


def test_what_was_acknowledged_is_stored_once_whatever_happens_to_the_server(tmp_path: Path) -> None:
    """A small one of what `make soak-labels` does."""
    with place(tmp_path) as where:
        found = run(str(where), num_people=6, num_labels=12, num_kills=2, seed=1)
    assert found["acknowledged"] == found["stored"] == found["counted"] == found["progress"] == 72
    assert (found["lost"], found["double"], found["killed"]) == (0, 0, 2)

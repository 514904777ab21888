from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.tiny_run import run_tiny


@pytest.fixture(scope="session")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the shipped recipe on the tiny model and made-up ratings."""
    return run_tiny(tiny_model, tmp_path_factory.mktemp("store"))

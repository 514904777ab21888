from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.tiny_model import make_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer random Llama with a 512-token vocabulary."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")

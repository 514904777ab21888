from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fixtures.hurry import hurrying
from tests.fixtures.tiny_model import make_model
from tests.fixtures.warm import Warm, warm

gc.disable()  # until all tests are collected

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What is there now stays: no collection of garbage looks at it again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def hurry() -> Iterator[None]:
    with hurrying():
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer random Llama with a 512-token vocabulary."""
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def warm_python() -> Iterator[Warm]:
    """Programs that need not import torch."""
    with warm() as programs:
        yield programs

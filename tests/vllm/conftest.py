"""vLLM itself, as `make test-vllm` runs it. Without that the tests of this folder skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from accord.engine.vllm_engine import VllmEngine
from accord.models.policy import Policy
from tests.fixtures.tiny_model import make_model

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings are vLLM's and its libraries', which are not ours to mend."""
    wanted = bool(os.environ.get("ACCORD_REQUIRE_VLLM"))
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            if not wanted:
                item.add_marker(pytest.mark.skip(reason="vLLM is tested by make test-vllm, after make install-vllm"))


@pytest.fixture(scope="session", autouse=True)
def in_fp32() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCORD_DTYPE", "float32")
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads of 32 numbers, the smallest that vLLM computes with on a processor."""
    return make_model(tmp_path_factory.mktemp("vllm") / "tiny", head_size=32)


@pytest.fixture(scope="session")
def policy(folder: Path) -> Policy:
    return Policy.load(folder, torch.float32)


@pytest.fixture(scope="session")
def engine(folder: Path) -> VllmEngine:
    """One for all tests: opening it takes longer than all of them."""
    return VllmEngine(folder)

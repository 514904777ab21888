from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from accord.models.policy import Policy
from accord.serve.app import create_app
from accord.serve.worker import Worker


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


@pytest.fixture(scope="module")
def client(tiny_model: Path, policy: Policy) -> Iterator[TestClient]:
    """Of a server with the policies "one" and "two"."""
    workers = {"one": Worker(policy), "two": Worker(Policy.load(tiny_model))}
    with TestClient(create_app(workers), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client
    for worker in workers.values():
        worker.close()

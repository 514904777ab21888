"""Whatever is sent to the JSON addresses: no answer of theirs is an error of ours (Schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accord.labels import users
from accord.labels.database import Database, sqlite_url
from accord.labels.migrate import open_labels
from accord.serve.app import create_app as create_server
from accord.store.artifacts import Store
from accord.web.app import create_app
from tests.browser.conftest import Server, missing
from tests.labels.people import campaign

try:
    import schemathesis
    from hypothesis import HealthCheck, settings
except ImportError:
    missing("Schemathesis is not installed: make test-browser", allow_module_level=True)

CALM = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
PAGES = schemathesis.openapi.from_dict(create_app(Database(sqlite_url(Path("unused.db")))).openapi())
SERVED = schemathesis.openapi.from_dict(create_server({}).openapi())


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server, and what an owner's pages send."""
    database = open_labels(tmp_path_factory.mktemp("labels") / "labels.db")
    campaign(database, 50, overlap=3, safety=True)
    campaign(database, 0, name="talk", live=True)
    with database.writing() as connection:
        olga = users.create(connection, database.now(), "olga", "owner")
        session = users.begin_session(connection, database.now(), olga)
    server = Server(database, Store(tmp_path_factory.mktemp("store")))
    yield server.address, {"Cookie": f"accord_session={session.token}", "X-CSRF-Token": session.csrf}
    server.stop()
    database.close()


@PAGES.parametrize()
@CALM
def test_pages(case: Any, owner: tuple[str, dict[str, str]]) -> None:
    address, headers = owner
    answer = case.call(base_url=address, headers={**(case.headers or {}), **headers})
    assert answer.status_code < 500, answer.text


@SERVED.parametrize()
@CALM
def test_served_policies(case: Any, tiny_server: str) -> None:
    answer = case.call(base_url=tiny_server)
    assert answer.status_code < 500, answer.text


@pytest.fixture(scope="module")
def tiny_server(tiny_model: Path) -> Iterator[str]:
    import threading

    import uvicorn

    from accord.models.policy import Policy
    from accord.ports import address, listen
    from accord.serve.worker import Worker

    worker = Worker(Policy.load(tiny_model))
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_server({"one": worker}), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield address("127.0.0.1", listening.getsockname()[1])
    server.should_exit = True
    thread.join()
    listening.close()
    worker.close()

"""A real browser and a real server. `make test-browser` installs what they need; without it these tests skip."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import uvicorn

from accord.labels import users
from accord.labels.database import Database
from accord.labels.migrate import open_labels
from accord.ports import listen
from accord.store.artifacts import Store
from accord.web.app import create_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def missing(what: str, *, allow_module_level: bool = False) -> NoReturn:
    """Skips, or fails where everything was installed for these tests."""
    if os.environ.get("ACCORD_REQUIRE_BROWSER"):
        pytest.fail(what)
    pytest.skip(what, allow_module_level=allow_module_level)


class Server:
    """The pages in a thread of this process, at an address that stays when it is stopped and started again."""

    def __init__(self, database: Database, store: Store) -> None:
        self.database, self.store, self.port = database, store, 0
        self.app = create_app(database, store=store)
        self.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        listening = listen("127.0.0.1", self.port)
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(self.app, log_level="error", lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listening]}, daemon=True)
        self._thread.start()
        self._listening = listening

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_labels(tmp_path / "labels.db")
    yield database
    database.close()


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[Server]:
    server = Server(database, Store(tmp_path / "store"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    try:
        from playwright import sync_api as playwright
    except ImportError:
        missing("Playwright is not installed: make test-browser")
    if CHROMIUM is None:
        missing("there is no chromium on this machine: install Debian's, then make test-browser")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def enter(chromium: Any, server: Server) -> Iterator[Callable[..., Any]]:
    """Somebody's page, signed in by an invitation. What fails in it or leaves this machine fails the test."""
    problems: list[str] = []
    contexts = []

    def open_page(name: str = "ana", role: users.Role = "annotator", **options: Any) -> Any:
        context = chromium.new_context(**options)
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((server.address, "data:", "blob:"))
                else problems.append(f"request: {request.url}")
            ),
        )
        page.on(
            "console",
            lambda said: problems.append(f"console: {said.text}") if "Content Security Policy" in said.text else None,
        )
        with server.database.writing() as connection:
            token = users.invite(connection, server.database.now(), role)
        page.goto(f"{server.address}/join/{token}")
        page.fill("input[name=name]", name)
        page.fill("input[name=password]", "correct horse battery")
        page.click("button[type=submit]")
        page.wait_for_url(f"{server.address}/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []

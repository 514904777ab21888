from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from accord.labels import users
from accord.labels.database import Database
from accord.labels.users import Role
from accord.web import passwords
from accord.web.app import create_app
from tests.fixtures.databases import new_database

BASE = "http://127.0.0.1:8500"


class Browser(TestClient):
    """Somebody's cookies, and the token that the pages send."""

    csrf = ""

    def look(self) -> None:
        """Reads the token from a page, as a page's modules do."""
        found = re.search(r'name="csrf" content="([^"]*)"', self.get("/").text)
        self.csrf = found[1] if found else ""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self.request(method, path, json=body, headers={"X-CSRF-Token": self.csrf, "Origin": BASE})

    def next(self, campaign: int = 1) -> Any:
        return self.ask("POST", f"/api/campaigns/{campaign}/next").json()

    def answer(self, assignment: int, key: str | None = None, **content: Any) -> Any:
        body = {"key": key or str(uuid.uuid4()), "content": content, "active_seconds": 3.5}
        return self.ask("POST", f"/api/assignments/{assignment}/answer", body)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with new_database(tmp_path) as database:
        yield database


@pytest.fixture
def visit(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Browser]]:
    """Makes somebody's browser: visit() is nobody's yet, visit("ana", "annotator") is signed in."""
    opened: list[Browser] = []
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    app = create_app(database)

    def enter(name: str = "", role: Role = "annotator") -> Browser:
        browser = Browser(app, base_url=BASE, raise_server_exceptions=False)
        opened.append(browser)
        if name:
            with database.writing() as connection:
                token = users.invite(connection, database.now(), role)
            form = {"name": name, "password": "correct horse battery"}
            assert browser.post(f"/join/{token}", data=form).status_code == 200
            browser.look()
        return browser

    yield enter
    for browser in opened:
        browser.close()

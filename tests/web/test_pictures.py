from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx
import pytest

from accord.labels.database import Database
from accord.web import pictures
from tests.labels.people import campaign
from tests.web.conftest import BASE, Browser
from tests.web.test_owning import answer_all

Visit = Callable[..., Browser]


def test_owners_and_reviewers_see_pictures_beside_the_tables(database: Database, visit: Visit) -> None:
    campaign(database, 3, overlap=2)
    for name in ("ana <b>", "ben"):
        answer_all(visit(name), "Answer 0.")
    reviewer = visit("rita", "reviewer")
    page = reviewer.get("/campaigns/1").text
    for name, shows in (("days", "Answers by day"), ("agreement", "1.00"), ("first", "% of 3")):
        path = f"/campaigns/1/pictures/{name}.svg"
        assert f'<img src="{path}" alt="' in page
        assert f'<source srcset="{path}?dark=true" media="(prefers-color-scheme: dark)">' in page
        found = reviewer.get(path)
        assert found.headers["content-type"] == "image/svg+xml"
        assert shows in found.text
        assert "ana" not in found.text  # people are their pseudonyms
        assert "#222222" in found.text
    assert "#222222" not in reviewer.get(path, params={"dark": True}).text


def test_where_nothing_is_known_there_is_no_picture(database: Database, visit: Visit) -> None:
    campaign(database, 3)
    owner = visit("olga", "owner")
    assert "<img" not in owner.get("/campaigns/1").text
    assert owner.get("/campaigns/1/pictures/days.svg").status_code == 404
    assert owner.get("/campaigns/1/pictures/names.svg").status_code == 422
    assert owner.get("/campaigns/9/pictures/days.svg").status_code == 404


def test_drawing_waits_for_no_reader_and_the_same_numbers_are_drawn_once(
    database: Database, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(database, 1)
    answer_all(visit("ana"), "Answer 0.")
    owner = visit("olga", "owner")
    readers, drawn = [], []
    reading = database.reading

    @contextmanager
    def counted() -> Iterator[Any]:
        with reading() as connection:
            readers.append(connection)
            yield connection
            readers.remove(connection)

    def run(*asked: Any, **options: Any) -> Any:
        assert readers == []
        assert threading.current_thread() is not threading.main_thread()
        drawn.append(options["input"])
        return done(*asked, **options)

    done = pictures.subprocess.run
    monkeypatch.setattr(database, "reading", counted)
    monkeypatch.setattr(pictures.subprocess, "run", run)
    pictures._drawn.cache_clear()
    first, second = (owner.get("/campaigns/1/pictures/days.svg") for _ in range(2))
    assert first.status_code == 200
    assert first.text == second.text
    assert len(drawn) == 1


def test_pages_are_answered_while_many_wait_for_pictures(
    database: Database, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than there are threads that answer."""
    campaign(database, 1)
    owner = visit("olga", "owner")
    begun, let = threading.Event(), threading.Event()

    def drawn(asked: str) -> str:
        begun.set()
        let.wait(60)
        return "<svg/>"

    monkeypatch.setattr(pictures, "_drawn", drawn)

    async def visits() -> tuple[int, set[int]]:
        transport = httpx.ASGITransport(app=owner.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE, cookies=owner.cookies) as client:
            path = "/campaigns/1/pictures/days.svg"
            waiting = [asyncio.ensure_future(client.get(path)) for _ in range(50)]
            try:
                async with asyncio.timeout(20):
                    while not begun.is_set():
                        await asyncio.sleep(0.01)
                    other = await client.get("/")
            finally:
                let.set()
            return other.status_code, {one.status_code for one in await asyncio.gather(*waiting)}

    assert asyncio.run(visits()) == (200, {200})

"""Runs in the browser: who may look, what is sent as files change, and what the buttons ask for."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn

from accord import control
from accord.labels import users
from accord.labels.database import Database
from accord.ports import listen
from accord.run_folder import lock_of
from accord.web import watches, watching
from accord.web.app import create_app
from accord.web.serving import _Server
from accord.web.watches import Watches
from tests.fixtures.live_server import live
from tests.fixtures.watched import Watched, end
from tests.fixtures.watched_pages import hasty, run
from tests.web.conftest import Browser

__all__ = ["hasty", "run"]

Visit = Callable[..., Browser]


@pytest.fixture
def owner(visit: Visit, run: Watched) -> Browser:
    return with_store(visit("olga", "owner"), run)


def with_store(browser: Browser, run: Watched) -> Browser:
    state = browser.app.state  # type: ignore[attr-defined]
    state.site = replace(state.site, watches=Watches(run.store))
    return browser


class Stream:
    """The events of an address, as they come."""

    def __init__(self, client: httpx.Client, path: str) -> None:
        self._client, self._path = client, path
        self.parts: dict[str, Any] = {}
        self.names: list[str] = []

    def __enter__(self) -> Stream:
        self._sent = self._client.stream("GET", self._path)
        self.response = self._sent.__enter__()
        self._lines = self.response.iter_lines()
        return self

    def __exit__(self, *given: Any) -> None:
        self._sent.__exit__(*given)

    def until(self, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Reads on until what was sent so far is as wanted, if it is not yet."""
        name = ""
        if self.parts and true(self.parts):
            return self.parts
        for line in self._lines:
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: "):
                self.parts[name] = json.loads(line.removeprefix("data: "))
                self.names.append(name)
                if true(self.parts):
                    return self.parts
        raise AssertionError(f"it ended, after {self.names}")


@pytest.fixture
def served(database: Database, run: Watched) -> Iterator[tuple[Any, httpx.Client]]:
    """The app, and an owner's client of it over a real connection."""
    app = create_app(database, store=run.store)
    with live(app) as address, httpx.Client(base_url=address, timeout=20) as client:
        with database.writing() as connection:
            user = users.create(connection, database.now(), "olga", "owner")
            token = users.begin_session(connection, database.now(), user).token
        client.cookies.set("accord_session", token)
        yield app, client


def num_streams(app: Any) -> int:
    found: int = app.state.site.watches.num_streams
    return found


def until(true: Callable[[], object]) -> None:
    end_at = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end_at
        time.sleep(0.02)


@pytest.mark.parametrize("role", ["annotator", "reviewer", "red-teamer"])
def test_runs_are_for_owners(role: str, visit: Visit, run: Watched) -> None:
    browser = with_store(visit("ana", role), run)
    for path in ("/runs", "/runs/mine", "/runs/mine/report", "/api/runs/events", "/api/runs/mine/events"):
        assert browser.get(path).status_code == 403
    for path in ("/api/runs/mine/stop", "/api/runs/mine/resume"):
        assert browser.ask("POST", path, {"pid": 1, "host": "a"}).status_code == 403
    assert "/runs" not in browser.get("/").text
    nobody = visit()
    assert nobody.get("/runs", follow_redirects=False).headers["location"] == "/sign-in"
    assert nobody.get("/api/runs/events").status_code == 401


def test_pages(owner: Browser, run: Watched) -> None:
    assert 'href="/runs"' in owner.get("/").text
    assert str(run.store.root) in owner.get("/runs").text
    assert 'data-run="mine"' in owner.get("/runs/mine").text
    for name in ("other", "..%2Fmine", "%00"):
        assert owner.get(f"/runs/{name}").status_code == 404


def test_pages_that_were_opened_without_a_store(visit: Visit) -> None:
    owner = visit("olga", "owner")
    assert owner.get("/runs").status_code == 404
    assert owner.get("/api/runs/events").json() == {"error": "these pages were opened without a store of runs"}


def test_a_page_is_told_of_a_run_from_its_start_to_its_end(served: tuple[Any, httpx.Client], run: Watched) -> None:
    app, client = served
    with Stream(client, "/api/runs/mine/events") as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        parts = stream.until(lambda parts: "log" in parts)
        assert (parts["run"]["state"], parts["run"]["now"]) == ("to run", None)
        assert [step["state"] for step in parts["steps"]] == ["done", "done", "to run"]
        assert (parts["curves"]["step"], parts["curves"]["panels"][0]["title"]) == ("sft", "loss (nats per token)")
        with run.held():
            run.progress(1)
            run.log({"iteration": 1, "objective/scores": 0.25, "objective/kl": 0.1})
            parts = stream.until(lambda parts: parts["curves"]["step"] == "ppo" and parts["run"]["now"])
            assert parts["run"]["now"]["left"] == 130.0
            assert parts["run"]["alarms"] == []
            (score, _) = parts["curves"]["panels"]
            assert score["lines"] == [{"name": "proxy", "points": [[1.0, 0.25]]}]
            run.log({"iteration": 2, "objective/scores": 0.5, "objective/kl": -2.0})
            run.samples(2, {"prompt": "<script>", "response": "</script>\nevent: run", "score": 0.5})
            parts = stream.until(lambda parts: parts["run"]["alarms"] and parts["samples"]["samples"])
            assert parts["samples"]["samples"][0]["response"] == "</script>\nevent: run"
            assert parts["run"]["alarms"][0]["name"] == "negative_kl"
            parts = stream.until(lambda parts: parts["curves"]["last"] == 2)
            assert parts["curves"]["panels"][0]["lines"][0]["points"] == [[1.0, 0.25], [2.0, 0.5]]
            run.rewrite({"iteration": 1, "objective/scores": 0.25, "objective/kl": 0.1})
            stream.until(lambda parts: parts["curves"]["last"] == 1 and not parts["run"]["alarms"])
        stream.until(lambda parts: parts["run"]["state"] == "interrupted" and parts["run"]["resume"])
        shutil.rmtree(run.folder)
        stream.until(lambda parts: parts["run"]["state"] == "gone")
        run.write_plan()
        stream.until(lambda parts: parts["run"]["state"] == "interrupted")
        assert num_streams(app) == 1
    until(lambda: num_streams(app) == 0)


def test_several_look_at_once_and_each_is_sent_what_is_new_alone(
    served: tuple[Any, httpx.Client], run: Watched
) -> None:
    app, client = served
    with (
        Stream(client, "/api/runs/mine/events") as first,
        Stream(client, "/api/runs/mine/events?step=sft") as second,
        Stream(client, "/api/runs/events") as third,
        run.held(),
    ):
        run.log({"iteration": 1, "objective/scores": 0.25, "objective/kl": -2.0})
        first.until(lambda parts: "log" in parts and parts["curves"]["step"] == "ppo" and parts["run"]["alarms"])
        second.until(lambda parts: "log" in parts and parts["run"]["alarms"])
        assert second.parts["curves"]["step"] == "sft"
        found = third.until(lambda parts: parts["runs"][0]["alarms"])["runs"]
        told = {"name": "mine", "state": "running", "done": 2, "steps": 3, "step": "ppo", "now": None, "alarms": 1}
        assert found == [told]
        assert num_streams(app) == 3
        first.names.clear()
        run.progress(3)
        first.until(lambda parts: parts["run"]["now"])
        assert first.names == ["run"]
    until(lambda: num_streams(app) == 0)


def test_a_long_run_is_sent_in_short(served: tuple[Any, httpx.Client], run: Watched) -> None:
    _, client = served
    with run.held():
        run.log(*({"iteration": at, "objective/scores": 0.1, "objective/kl": 0.1} for at in range(5000)))
        text = "a" * 100_000
        run.samples(1, *({"prompt": text, "response": text} for _ in range(50)))
        (run.folder / "log.txt").write_text("b" * 100_000)
        with Stream(client, "/api/runs/mine/events") as stream:
            parts = stream.until(lambda parts: "log" in parts)
    assert len(parts["curves"]["panels"][0]["lines"][0]["points"]) <= 120
    assert len(json.dumps(parts)) < 50_000


def test_who_may_look_no_more_is_sent_no_more(
    served: tuple[Any, httpx.Client], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, client = served
    monkeypatch.setattr(watching, "BEAT_SECONDS", 0.05)
    with Stream(client, "/api/runs/events") as stream:
        stream.until(lambda parts: "beat" in parts)
        with database.writing() as connection:
            users.end_session(connection, client.cookies["accord_session"])
        stream.until(lambda parts: "out" in parts)
        assert list(stream._lines) == [""]
    assert num_streams(app) == 0


def test_pages_that_are_open_do_not_keep_the_server(served: tuple[Any, httpx.Client]) -> None:
    app, client = served
    with Stream(client, "/api/runs/events") as stream:
        stream.until(lambda parts: "runs" in parts)
        app.state.site.leaving.set()
        list(stream._lines)
    assert num_streams(app) == 0


def test_ctrl_c_ends_the_server_while_pages_are_open(
    database: Database, run: Watched, served: tuple[Any, httpx.Client]
) -> None:
    app, client = served
    with closing(listen("127.0.0.1", 0)) as listening:
        server = _Server(uvicorn.Config(app, log_level="error", lifespan="off"), app.state.site.leaving)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/api/runs/events"
        with Stream(client, address) as stream:
            stream.until(lambda parts: "runs" in parts)
            server.handle_exit(signal.SIGINT, None)
            list(stream._lines)
        thread.join(20)
        assert not thread.is_alive()


def test_too_many_pages(served: tuple[Any, httpx.Client], monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = served
    monkeypatch.setattr(watches, "MOST_STREAMS", 1)
    with Stream(client, "/api/runs/events") as stream:
        stream.until(lambda parts: "runs" in parts)
        refused = client.get("/api/runs/events")
        assert (refused.status_code, refused.json()["error"]) == (409, "too many pages are open on runs: close one")


def test_a_run_is_stopped_once_and_it_is_written_down(owner: Browser, run: Watched) -> None:
    host = socket.gethostname()
    with run.process() as child:
        body = {"pid": child.pid, "host": host}
        forged = owner.post("/api/runs/mine/stop", json=body)
        assert forged.status_code == 403
        assert owner.ask("POST", "/api/runs/mine/stop", {**body, "pid": child.pid + 1}).status_code == 409
        assert owner.ask("POST", "/api/runs/mine/stop", {**body, "host": "elsewhere"}).status_code == 409
        assert owner.ask("POST", "/api/runs/mine/stop", {**body, "pid": 0}).status_code == 422
        assert owner.ask("POST", "/api/runs/other/stop", body).status_code == 404
        assert child.poll() is None
        assert owner.ask("POST", "/api/runs/mine/stop", body).status_code == 204
        again = owner.ask("POST", "/api/runs/mine/stop", body)
        assert (again.status_code, "was asked to stop before" in again.json()["error"]) == (409, True)
        parts = json.loads(owner.app.state.site.watches.run("mine", "")["run"])  # type: ignore[attr-defined]
        assert (parts["state"], parts["stop"], parts["resume"]) == ("stopping", None, False)
        assert end(child) == ["stopping", "ended"]
    assert "run stopped" in owner.get("/events").text


def test_a_run_is_gone_on_with(owner: Browser, run: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_PROGRAM", "print('<b>said</b>'); raise SystemExit(2)")
    assert owner.post("/api/runs/mine/resume").status_code == 403
    assert owner.ask("POST", "/api/runs/other/resume").status_code == 404
    assert owner.ask("POST", "/api/runs/mine/resume").status_code == 204
    look = owner.app.state.site.watches  # type: ignore[attr-defined]
    until(lambda: json.loads(look.run("mine", "")["run"])["ended"] == 2)
    assert json.loads(look.run("mine", "")["log"])[-1] == "<b>said</b>"
    assert "run gone on with" in owner.get("/events").text
    run.recipe.unlink()
    refused = owner.ask("POST", "/api/runs/mine/resume")
    assert refused.status_code == 409
    assert refused.json()["error"].endswith("Go on with it where it was started")


def test_a_run_of_another_machine_is_offered_nothing(owner: Browser, run: Watched) -> None:
    lock_of(run.folder).write_text("process 7 on elsewhere")
    parts = json.loads(owner.app.state.site.watches.run("mine", "")["run"])  # type: ignore[attr-defined]
    assert (parts["stop"], parts["resume"]) == (None, False)
    assert parts["why"] == "process 7 on elsewhere works on it: stop it there"


def test_the_report_is_linked_once_it_is_there_and_can_ask_for_nothing(
    served: tuple[Any, httpx.Client], run: Watched
) -> None:
    _, client = served
    page = client.get("/runs/mine")
    assert 'href="/runs/mine/report"' in page.text
    assert "sandbox" not in page.headers["content-security-policy"]
    missing = client.get("/runs/mine/report")
    assert (missing.status_code, "`accord report`" in missing.text) == (404, True)
    assert client.get("/runs/..%2Fmine/report").status_code == 404
    with Stream(client, "/api/runs/mine/events") as stream:
        assert stream.until(lambda parts: "run" in parts)["run"]["report"] is False
        (run.folder / "report.html").write_text("<h1>What came out</h1>")
        stream.until(lambda parts: parts["run"]["report"])
    found = client.get("/runs/mine/report")
    assert (found.text, found.headers["content-type"]) == ("<h1>What came out</h1>", "text/html; charset=utf-8")
    policy = found.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts allow-downloads; default-src 'none'")
    assert "allow-same-origin" not in policy
    assert found.headers["cross-origin-opener-policy"] == "unsafe-none"
    assert found.headers["x-frame-options"] == "DENY"

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2 as httpx
import pytest

from accord.errors import UserError
from accord.labels.database import Database
from accord.labels.snapshot import judged
from accord.types import Message
from accord.web.policies import Policies
from tests.labels.people import campaign
from tests.web.conftest import BASE, Browser

Visit = Callable[..., Browser]


class Endpoint(ThreadingHTTPServer):
    """Answers with the model's name and the last message; asked: the bodies. broken: what it answers instead."""

    close = ThreadingHTTPServer.server_close

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.broken: bytes | None = None
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def policies(self) -> Policies:
        return Policies(f"http://127.0.0.1:{self.server_port}/v1", ("small", "large"))


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        text = f"{body['model']} says: {body['messages'][-1]['content']}"
        answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        answer = answer if self.server.broken is None else self.server.broken
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with closing(Endpoint()) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ana(database: Database, visit: Visit, endpoint: Endpoint) -> Browser:
    campaign(database, 0, live=True)
    ana = visit("ana")
    site = ana.app.state.site  # type: ignore[attr-defined]
    ana.app.state.site = replace(site, policies=endpoint.policies)  # type: ignore[attr-defined]
    return ana


def write(browser: Browser, text: str, after: int | None = None, key: str | None = None) -> Any:
    body = {"key": key or str(uuid.uuid4()), "text": text, "after": after}
    return browser.ask("POST", "/api/campaigns/1/write", body)


def test_two_policies_answer_and_the_person_compares(ana: Browser, endpoint: Endpoint, database: Database) -> None:
    assert ana.next()["item"] is None
    item = write(ana, "Why is the sky blue?").json()["item"]
    assert sorted(item["responses"]) == ["large says: Why is the sky blue?", "small says: Why is the sky blue?"]
    assert ana.next()["item"] == item
    assert {one["model"] for one in endpoint.asked} == {"small", "large"}
    assert len({one["temperature"] for one in endpoint.asked}) == 2
    ana.answer(item["assignment"], ranks=[1, 2], strength="better")
    with database.reading() as connection:
        ((comparison, (said,)),) = judged(connection, 1)
    assert comparison.prompt.messages == (Message("user", "Why is the sky blue?"),)
    texts = [response.text for response in comparison.responses]
    assert said.grades[texts.index(item["responses"][0])] == 3.0


def test_a_conversation_goes_on_with_the_better_response(ana: Browser) -> None:
    first = write(ana, "One?").json()["item"]
    early = write(ana, "Two?", after=first["assignment"])
    assert (early.status_code, early.json()["error"]) == (409, "compare these responses first")
    ana.answer(first["assignment"], ranks=[2, 1], strength="slightly")
    second = write(ana, "Two?", after=first["assignment"]).json()["item"]
    assert second["messages"] == [
        {"role": "user", "text": "One?"},
        {"role": "assistant", "text": first["responses"][1]},
        {"role": "user", "text": "Two?"},
    ]
    ana.answer(second["assignment"], ranks=[1, 1])
    third = write(ana, "Three?", after=second["assignment"]).json()["item"]
    assert third["messages"][3]["text"] == second["responses"][0]


def test_sent_again_asks_nobody_twice(ana: Browser, endpoint: Endpoint) -> None:
    key = str(uuid.uuid4())
    first = write(ana, "One?", key=key).json()
    assert write(ana, "One?", key=key).json() == first
    assert len(endpoint.asked) == 2


def test_others_conversations_are_others(ana: Browser, visit: Visit) -> None:
    key, ben = str(uuid.uuid4()), visit("ben")
    item = write(ana, "One?", key=key).json()["item"]
    ana.answer(item["assignment"], ranks=[1, 1])
    assert write(ben, "Two?", after=item["assignment"]).status_code == 404
    assert write(ben, "One?", key=key).status_code == 404


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("  \n", "write something first"),
        ("a" * 20_001, "20,001 characters"),
        ("Write to ann.smith@mail.org for me.", "somebody's email: take it out"),
    ],
)
def test_what_is_not_stored(ana: Browser, endpoint: Endpoint, text: str, why: str) -> None:
    answer = write(ana, text)
    assert answer.status_code == 422
    assert why in answer.json()["error"]
    assert endpoint.asked == []


@pytest.mark.parametrize(
    "broken", [b"not json", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 5}}]}']
)
def test_an_endpoint_that_does_not_answer_is_said_and_nothing_is_stored(
    ana: Browser, endpoint: Endpoint, broken: bytes
) -> None:
    endpoint.broken = broken
    answer = write(ana, "One?")
    assert answer.status_code == 409
    assert "what you wrote is kept here" in answer.json()["error"]
    assert ana.next()["item"] is None


def test_without_policies_or_in_another_campaign(database: Database, visit: Visit) -> None:
    campaign(database, 1)
    campaign(database, 0, name="talk", live=True)
    ana = visit("ana")
    assert "nobody writes in this campaign" in write(ana, "One?").json()["error"]
    body = {"key": str(uuid.uuid4()), "text": "One?"}
    answer = ana.ask("POST", "/api/campaigns/2/write", body)
    assert "start `accord web` with --policy" in answer.json()["error"]


def test_one_policy_alone_answers_twice() -> None:
    with closing(Endpoint()) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        policies = Policies(server.policies.endpoint, ("small",))
        found = policies.answers([Message("user", "One?")])
        assert [one.text for one in found] == ["small says: One?"] * 2
        assert len({one.by for one in found}) == 2
        server.shutdown()
        thread.join()
    with pytest.raises(UserError, match="cannot be reached"):
        policies.answers([Message("user", "One?")])


class Stalled:
    """Policies that answer nobody until they are let."""

    def __init__(self) -> None:
        self.let, self.num_waiting = threading.Event(), 0

    def answers(self, messages: Any, num: int = 2) -> Any:
        self.num_waiting += 1
        self.let.wait(60)
        raise UserError("nobody is there")


def test_while_many_wait_for_a_policy_others_are_answered(ana: Browser) -> None:
    """More people wait than there are threads for everything else."""
    stalled, site = Stalled(), ana.app.state.site  # type: ignore[attr-defined]
    ana.app.state.site = replace(site, policies=stalled)  # type: ignore[attr-defined]
    headers = {"X-CSRF-Token": ana.csrf, "Origin": BASE}

    async def visits() -> tuple[int, set[int]]:
        transport = httpx.ASGITransport(app=ana.app)
        async with httpx.AsyncClient(
            transport=transport, base_url=BASE, cookies=ana.cookies, headers=headers
        ) as client:
            bodies = [{"key": str(uuid.uuid4()), "text": "Hello?"} for _ in range(50)]
            waiting = [asyncio.ensure_future(client.post("/api/campaigns/1/write", json=body)) for body in bodies]
            try:
                async with asyncio.timeout(20):
                    while stalled.num_waiting < len(waiting):
                        await asyncio.sleep(0.01)
                    other = await client.get("/")
            finally:
                stalled.let.set()
            return other.status_code, {one.status_code for one in await asyncio.gather(*waiting)}

    assert asyncio.run(visits()) == (200, {409})

"""Asks an OpenAI-compatible server for chats, many at the same time, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """first: seconds until there was some text. last: until all was there."""

    text: str
    first: float
    last: float


def ask_at_once(port: int, bodies: Sequence[Mapping[str, Any]]) -> tuple[list[Asked], float]:
    """The answers to all chats, which are asked in the same moment, each by a connection of its own; and the seconds
    from then until the last one was there. Raises RuntimeError for one that is refused."""
    start = Barrier(len(bodies) + 1)

    def one(body: Mapping[str, Any]) -> Asked:
        start.wait()
        return ask(port, body)

    with ThreadPoolExecutor(len(bodies)) as threads:
        futures = [threads.submit(one, body) for body in bodies]
        start.wait()
        began = time.perf_counter()
        found = [future.result() for future in futures]
        return found, time.perf_counter() - began


def ask(port: int, body: Mapping[str, Any], patience: float = 1200) -> Asked:
    """patience: seconds between two pieces of an answer."""
    began, first, pieces = time.perf_counter(), None, []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        sent = json.dumps({**body, "stream": True})
        connection.request("POST", "/v1/chat/completions", sent, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {response.read(2000)!r}")
        while line := response.readline():
            if not line.startswith(b"data: ") or line.strip() == b"data: [DONE]":
                continue
            event = json.loads(line.removeprefix(b"data: "))
            if "choices" not in event:
                raise RuntimeError(f"an event without choices: {line[:2000]!r}")
            piece = "".join(choice["delta"].get("content") or "" for choice in event["choices"])
            if piece and first is None:
                first = time.perf_counter() - began
            pieces.append(piece)
    finally:
        connection.close()
    last = time.perf_counter() - began
    return Asked("".join(pieces), last if first is None else first, last)


def is_ready(port: int, path: str = "/health") -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()

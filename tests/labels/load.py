"""Many annotators over HTTP while the server is killed and answers are lost: what was acknowledged is what is stored.

    python -m tests.labels.load PEOPLE LABELS KILLS SEED FOLDER

The server is a process of its own. Each annotator asks for items and answers them as the page does: an answer has a key
of its own, and is sent again, however often, until it is acknowledged. A share of the answers that the server gives is
dropped on the way, and a share of requests is sent twice. Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
from sqlalchemy import func, select

from accord.labels import campaigns, users
from accord.labels.campaigns import Settings
from accord.labels.database import Database
from accord.labels.migrate import open_labels
from accord.labels.schema import submissions
from accord.labels.snapshot import said
from tests.labels.people import comparison

SHARE = 0.05  # of answers dropped, and of requests sent twice
CAMPAIGN = "load"


def serve(where: str, port: int) -> None:
    """The server's process."""
    import uvicorn

    from accord.web.app import create_app

    database = open_labels(where if "://" in where else Path(where))
    uvicorn.run(create_app(database), host="127.0.0.1", port=port, log_level="error", lifespan="off")


@dataclass
class Server:
    """At one port, whatever happens to it."""

    where: str
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = f"from tests.labels.load import serve; serve({self.where!r}, {self.port})"
        self.process = subprocess.Popen([sys.executable, "-c", code])

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class Annotator:
    """acknowledged: key -> the number of the submission that the server said it is. seconds: of each answer that went
    through at once."""

    base: str
    cookie: str
    csrf: str
    seed: int
    acknowledged: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def work(self, num: int, campaign: int) -> None:
        draws = random.Random(self.seed)
        headers = {"X-CSRF-Token": self.csrf, "Cookie": f"accord_session={self.cookie}"}
        with httpx.Client(base_url=self.base, headers=headers, timeout=30) as client:
            while len(self.acknowledged) < num:
                item = self._until(client, draws, f"/api/campaigns/{campaign}/next", None)["item"]
                if item is None:
                    break
                key = str(uuid.UUID(int=draws.getrandbits(128)))
                ranks = draws.choice([[1, 2], [2, 1], [1, 1]])
                content = {"ranks": ranks, "strength": None if ranks == [1, 1] else "better"}
                body = {"key": key, "content": content, "active_seconds": 1.0}
                path = f"/api/assignments/{item['assignment']}/answer"
                self.acknowledged[key] = self._until(client, draws, path, body)["submission"]

    def _until(self, client: httpx.Client, draws: random.Random, path: str, body: Any) -> Any:
        """Sends until it is acknowledged."""
        for tries in range(10_000):
            began = time.perf_counter()
            try:
                answer = client.post(path, json=body)
                if draws.random() < SHARE:
                    answer = client.post(path, json=body)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code >= 500:
                time.sleep(0.05)
                continue
            if draws.random() < SHARE:
                continue  # it was lost on the way back
            assert answer.status_code == 200, answer.text
            if body is not None and not tries:
                self.seconds.append(time.perf_counter() - began)
            return answer.json()
        raise TimeoutError(path)


def people_of(database: Database, num: int, labels: int) -> tuple[int, list[tuple[str, str]]]:
    """A campaign with as many items as labels, and the sessions of that many people."""
    now = database.now()
    with database.writing() as connection:
        of = campaigns.create(connection, now, CAMPAIGN, Settings())
        campaigns.add_items(connection, now, of.id, [comparison(i) for i in range(num * labels)])
        found = []
        for i in range(num):
            session = users.begin_session(connection, now, users.create(connection, now, f"p{i}", "annotator"))
            found.append((session.token, session.csrf))
    return of.id, found


def run(where: str, num_people: int, num_labels: int, num_kills: int, seed: int) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    database = open_labels(where if "://" in where else Path(where))
    campaign, sessions = people_of(database, num_people, num_labels)
    server, base = Server(where, port), f"http://127.0.0.1:{port}"
    people = [Annotator(base, token, csrf, seed * 1000 + i) for i, (token, csrf) in enumerate(sessions)]
    threads = [threading.Thread(target=one.work, args=(num_labels, campaign)) for one in people]
    began = time.perf_counter()
    server.start()
    for thread in threads:
        thread.start()
    draws, total, killed = random.Random(seed), num_people * num_labels, 0
    while any(thread.is_alive() for thread in threads):
        done = sum(len(one.acknowledged) for one in people)
        if killed < num_kills and done >= total * (killed + 0.5) / num_kills:
            time.sleep(draws.random() * 0.2)
            server.kill()
            killed += 1
            server.start()
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    server.kill()
    acknowledged = {key: number for one in people for key, number in one.acknowledged.items()}
    with database.reading() as connection:
        stored = {row.key: row.id for row in connection.execute(select(submissions.c.key, submissions.c.id))}
        num_said = len(said(connection, campaign))
        answered = connection.execute(select(func.count(func.distinct(submissions.c.assignment_id)))).scalar_one()
        progress = campaigns.progress(connection, campaigns.get(connection, campaign))
    database.close()
    return {
        "people": num_people,
        "acknowledged": len(acknowledged),
        "stored": len(stored),
        "counted": num_said,
        "progress": progress.num_answers,
        "lost": sum(stored.get(key) != number for key, number in acknowledged.items()),
        "double": len(stored) - answered,
        "killed": killed,
        "seconds": round(seconds, 1),
        "median_milliseconds": round(1000 * statistics.median(s for one in people for s in one.seconds), 1),
    }


def main() -> None:
    num_people, num_labels, num_kills, seed = map(int, sys.argv[1:5])
    where = os.environ.get("ACCORD_LABELS") or str(Path(sys.argv[5]) / "labels.db")
    print(json.dumps(run(where, num_people, num_labels, num_kills, seed)))


if __name__ == "__main__":
    main()

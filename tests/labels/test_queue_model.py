"""The queue against a model of it that is a few dictionaries: whatever people do, and however often it is sent."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from accord.labels import campaigns, queue
from accord.labels.queue import Given, Sent
from accord.labels.schema import items
from accord.labels.snapshot import judged
from tests.fixtures.databases import new_database
from tests.labels.people import campaign, user

OVERLAP = 2
PEOPLE = st.integers(0, 3)


class Queue(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.opened = ExitStack()
        folder = self.opened.enter_context(tempfile.TemporaryDirectory())
        self.database = self.opened.enter_context(new_database(Path(folder)))
        self.now = 1000.0
        self.database.now = lambda: self.now
        self.campaign = campaign(self.database, 4, overlap=OVERLAP, lease_minutes=1, strengths=False)
        self.people = [user(self.database, f"p{i}") for i in range(4)]
        self.held: dict[int, Given] = {}
        self.said: dict[tuple[int, str], list[int]] = {}  # (person, comparison) -> ranks by response
        self.sent: list[tuple[int, int, Sent]] = []
        self.done: list[list[str]] = [[] for _ in self.people]  # comparisons answered, each once, the last one last
        self.late: set[str] = set()

    def teardown(self) -> None:
        self.opened.close()

    def _send(self, who: int, assignment: int, sent: Sent) -> Any:
        with self.database.writing() as connection:
            return queue.submit(connection, self.now, self.people[who].id, assignment, sent)

    @rule(who=PEOPLE)
    def lease(self, who: int) -> None:
        with self.database.writing() as connection:
            given = queue.lease(connection, self.now, self.people[who].id, self.campaign)
        if given is None:
            self.held.pop(who, None)
        else:
            assert (who, given.comparison.id) not in self.said
            self.held[who] = given

    @precondition(lambda self: self.held)
    @rule(data=st.data(), ranks=st.sampled_from([[1, 2], [2, 1], [1, 1]]))
    def answer(self, data: st.DataObject, ranks: list[int]) -> None:
        """Of what was given last, also after the lease has ended."""
        who = data.draw(st.sampled_from(sorted(self.held)))
        given = self.held.pop(who)
        sent = Sent(f"key {len(self.sent)}", "answer", {"ranks": ranks})
        receipt = self._send(who, given.assignment, sent)
        assert not receipt.repeated
        self.sent.append((who, given.assignment, sent))
        name = given.comparison.id
        self.said[who, name] = [ranks[given.order.index(response)] for response in range(2)]
        self.done[who].append(name)
        if receipt.late:
            self.late.add(name)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def send_again(self, data: st.DataObject) -> None:
        who, assignment, sent = data.draw(st.sampled_from(self.sent))
        assert self._send(who, assignment, sent).repeated

    @rule(who=PEOPLE)
    def undo(self, who: int) -> None:
        key = f"key {len(self.sent)}"
        with self.database.writing() as connection:
            if not self.done[who]:
                return
            receipt = queue.undo(connection, self.now, self.people[who].id, self.campaign, key)
        self.sent.append((who, receipt.assignment, Sent(key, "withdrawal", None)))
        del self.said[who, self.done[who].pop()]
        self.held.pop(who, None)  # the next lease gives it back

    @rule(seconds=st.sampled_from([1, 61]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        with self.database.reading() as connection:
            found = judged(connection, self.campaign.id)
            rows = connection.execute(select(items).order_by(items.c.position)).all()
            progress = campaigns.progress(connection, self.campaign)
        pseudonyms = {person.pseudonym: i for i, person in enumerate(self.people)}
        seen = {(pseudonyms[one.annotator], comparison.id): one.grades for comparison, said in found for one in said}
        assert sorted(seen) == sorted(self.said)
        for key, (first, second) in self.said.items():
            grades = seen[key]
            assert (grades[0] > grades[1], grades[0] < grades[1]) == (first < second, first > second)
        answered = Counter(name for _, name in self.said)
        assert progress.num_answers == sum(min(num, OVERLAP) for num in answered.values())
        for row in rows:
            assert row.num_answered == answered[row.key] <= row.num_taken
            assert row.num_taken <= OVERLAP or row.key in self.late or row.num_answered < row.num_taken


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)

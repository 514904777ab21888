"""A judge of several processes that compute a step together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accord.collect.answer_log import Reply
from accord.collect.asked_once import asked_once
from accord.collect.askers import Question
from accord.engine.group import current
from accord.types import Message
from tests.engine.test_group import by_two

QUESTIONS = [Question((Message("user", text),), 5, ("A", "B")) for text in ("one", "two", "three")]


class Counting:
    """Answers with how many it was asked before, and nothing to what says two."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        for one in questions:
            self.asked.append(one.messages[0].content)
            yield None if self.asked[-1] == "two" else Reply("A", {"A": -0.25 * len(self.asked)})


def test_one_process_asks_and_all_know_the_replies():
    opened: list[Counting] = []

    def open_() -> Counting:
        assert current().rank == 0, "what the asker needs may be there alone"
        opened.append(Counting())
        return opened[-1]

    def replies() -> list[Reply | None]:
        asker = asked_once(open_, "counting")
        assert asker.name == "counting"
        return [*asker.ask(QUESTIONS), *asker.ask([]), *asker.ask(QUESTIONS[:1])]

    first, second = by_two(replies)
    expected = [Reply("A", {"A": -0.25}), None, Reply("A", {"A": -0.75}), Reply("A", {"A": -1.0})]
    assert first == second == expected
    assert [one.asked for one in opened] == [["one", "two", "three", "one"]]


def test_alone_it_is_the_asker_itself():
    asker = Counting()
    assert asked_once(lambda: asker, "counting") is asker

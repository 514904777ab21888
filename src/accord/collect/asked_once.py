"""An asker for several processes that compute a step together: one of them asks, and all know the replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from accord.collect.answer_log import Reply
from accord.collect.askers import Asker, Question
from accord.engine.group import agreed, current
from accord.engine.leading import lead


def asked_once(open_: Callable[[], Asker], name: str) -> Asker:
    """open_: gives the asker, and is called where it asks alone: what it needs, such as a key, is needed there alone.
    name: as the asker's. Raises UserError where `open_` does."""
    asker = open_() if current().rank == 0 else None
    return asker if asker is not None and current().size == 1 else _Once(asker, name)


class _Once:
    def __init__(self, asker: Asker | None, name: str) -> None:
        self._asker, self.name = asker, name

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply | None]:
        """At once, and not one after the other as they are taken."""
        rows: list[dict[str, Any] | None] = agreed(lead(lambda: self._rows(questions)))
        return iter([None if row is None else Reply(**row) for row in rows])

    def _rows(self, questions: Sequence[Question]) -> list[dict[str, Any] | None]:
        assert self._asker is not None
        return [None if reply is None else asdict(reply) for reply in self._asker.ask(questions)]

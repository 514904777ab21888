"""What those who look at runs are told, without a server."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from accord.labels.refusals import Conflict
from accord.web import watches
from accord.web.watches import Watches
from tests.fixtures.watched import Watched
from tests.fixtures.watched_pages import hasty, run

__all__ = ["hasty", "run"]


def test_many_threads_look_at_once(run: Watched) -> None:
    """One looks, and the others get what it saw."""
    looked, found = Watches(run.store), list[Any]()
    with run.held():
        run.log({"iteration": 1, "objective/scores": 0.25})
        threads = [threading.Thread(target=lambda: found.append(looked.run("mine", ""))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 8
    assert all(one == found[0] for one in found)


def test_what_nobody_looks_at_is_forgotten(run: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Watches(run.store)
    looked.run("mine", "")
    looked.overview()
    monkeypatch.setattr(watches, "FORGET_SECONDS", -1.0)
    looked.overview()
    assert list(looked._watched) == [("", "")]


def test_many_that_come_at_once_pass_no_limit(run: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them may have been let in before the first was counted."""
    monkeypatch.setattr(watches, "MOST_STREAMS", 1)
    found = Watches(run.store)
    for _ in range(3):
        found.refuse_more()
    with found.stream():
        with pytest.raises(Conflict), found.stream():
            pass
        assert found.num_streams == 1
    assert found.num_streams == 0


def test_samples_of_long_characters_are_sent_in_short(run: Watched) -> None:
    text = "\N{PILE OF POO}" * 5000
    with run.held():
        run.samples(1, *({"prompt": text, "response": text} for _ in range(6)))
        sent = Watches(run.store).run("mine", "")["samples"]
    assert len(sent) <= watches.MOST_SENT
    assert len(json.loads(sent)["samples"]) == 1

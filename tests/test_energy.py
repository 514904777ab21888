"""Energy by codecarbon: what it is asked for, and that nothing of it can fail a run."""

from __future__ import annotations

import sys
from importlib import metadata, util
from types import ModuleType
from typing import Any

import pytest

from accord import energy


class Total:
    def __init__(self, kwh: float) -> None:
        self.energy_consumed = kwh


class Tracker:
    """As codecarbon's, with a total that grows by 0.25 kWh with each look."""

    made: list[Tracker] = []  # noqa: RUF012  of a test
    fails = ""

    def __init__(self, **asked: Any) -> None:
        self.asked, self.kwh, self.started = asked, 0.0, False
        Tracker.made.append(self)
        if self.fails == "init":
            raise OSError("no")

    def start(self) -> None:
        self.started = True

    def flush(self) -> None:
        if self.fails == "flush":
            raise ValueError("no")
        if self.fails != "silent":
            for handler in self.asked["output_handlers"]:
                handler.out(Total(self.kwh), None)
        self.kwh += 0.25


@pytest.fixture
def codecarbon(monkeypatch: pytest.MonkeyPatch) -> type[Tracker]:
    module = ModuleType("codecarbon")
    module.OfflineEmissionsTracker = Tracker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    monkeypatch.setattr(Tracker, "made", [])
    monkeypatch.setattr(Tracker, "fails", "")
    return Tracker


def test_without_the_extra_there_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    read, by = energy.energy_meter()
    assert (read(), by) == (None, "")


def test_it_is_begun_once_with_the_first_reading(codecarbon: type[Tracker]) -> None:
    read, by = energy.energy_meter((1,))
    assert by == "codecarbon 9.9"
    assert codecarbon.made == []
    assert [read(), read(), read()] == [0.0, 0.25, 0.5]
    (tracker,) = codecarbon.made
    assert tracker.started
    asked = tracker.asked
    assert (asked["output_methods"], asked["emissions_endpoint"], asked["electricitymaps_api_token"]) == ([], None, "")
    assert (asked["tracking_mode"], asked["gpu_ids"]) == ("process", [1])


@pytest.mark.parametrize("fails", ["init", "flush", "silent"])
def test_what_goes_wrong_in_it_measures_nothing(
    codecarbon: type[Tracker], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(Tracker, "fails", fails)
    read, _ = energy.energy_meter()
    assert (read(), read()) == (None, None)
    assert len(codecarbon.made) == 1, "it is not tried again"


def test_the_real_one_asks_nobody() -> None:
    """No socket can be opened here but to this machine, and none is: a try would be told."""
    pytest.importorskip("codecarbon")
    read, _ = energy.energy_meter()
    first, second = read(), read()
    assert first is not None
    assert second is not None
    assert second >= first >= 0

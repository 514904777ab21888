"""An alarm: what all of them are. Which there are is in `accord.monitor.alarms`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alarm:
    """name: which one. what: a sentence. since: the iteration (or optimizer step) from which on it
    is so; 0 where there are none."""

    name: str
    what: str
    since: int

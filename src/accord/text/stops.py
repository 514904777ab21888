"""Texts at which a response is cut off, found while it is still being written."""

from __future__ import annotations

from collections.abc import Sequence


class StopTexts:
    """Lets through what comes before the first of some texts. What might be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def feed(self, text: str, *, final: bool = False) -> str:
        """text: what is new. final: no more will come. Returns what is sure to stand before any stop.

        >>> stops = StopTexts(["END"])
        >>> stops.feed("one E"), stops.feed("N two EN"), stops.feed("D three"), stops.stopped
        ('one ', 'EN two ', '', True)
        """
        if self.stopped:
            return ""
        whole = self._held + text
        found = [at for stop in self._stops if (at := whole.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return whole[: min(found)]
        held = 0 if final else max((_overlap(whole, stop) for stop in self._stops), default=0)
        self._held = whole[len(whole) - held :]
        return whole[: len(whole) - held]


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of the text are the first of the stop."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)

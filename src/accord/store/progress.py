"""How far long work is: a line that rewrites itself on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO


class Progress:
    """Counts units of work and shows rate, time left and a few values.

        ppo  12/28 iterations  43%  14 s each  0:03:44 left  kl 1.21  score 0.55

    total, start: units in all, and those done before (on a resume); the rate leaves the latter out. stream: where the
    lines go, sys.stderr by default. On a terminal at most ten updates a second are drawn.
    """

    plain_seconds = 15.0
    redraw_seconds = 0.1

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        stream: TextIO | None = None,
        *,
        start: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, start
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._start, self._clock = start, clock
        self._began = self._drawn = clock()
        self._shown: dict[str, float | str] = {}
        self._width = 0

    def advance(self, n: int = 1, **shown: float | str) -> None:
        """Count `n` more units. The values given stay on the line until they are given anew."""
        self.done += n
        self._shown.update(shown)
        now = self._clock()
        if now - self._drawn >= (self.redraw_seconds if self._live else self.plain_seconds):
            self._drawn = now
            self._draw(self.line())

    def line(self) -> str:
        """The line as of now."""
        seconds = self._clock() - self._began
        worked = self.done - self._start
        parts = [self.label, f"{self.done:,}/{self.total:,} {self.unit}"]
        if self.total:
            parts.append(f"{100 * self.done // self.total}%")
        if worked > 0 and seconds > 0:
            rate = worked / seconds
            parts.append(f"{rate:.3g}/s" if rate >= 1 else f"{1 / rate:.3g} s each")
            if self.done < self.total:
                parts.append(f"{clock_time((self.total - self.done) / rate)} left")
        if self.done >= self.total:
            parts.append(clock_time(seconds))
        return "  ".join(parts + [f"{name} {_short(value)}" for name, value in self._shown.items()])

    def __enter__(self) -> Self:
        if self._live:
            self._draw(self.line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._draw(self.line())
        if self._live:
            print(file=self._stream, flush=True)

    def _draw(self, line: str) -> None:
        if self._live:
            print("\r" + line.ljust(self._width), end="", file=self._stream, flush=True)
            self._width = len(line)
        else:
            print(line, file=self._stream, flush=True)


def clock_time(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> clock_time(130)
    '0:02:10'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"

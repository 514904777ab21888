"""How far long work is: a line that rewrites itself on a terminal, a plain line now and then elsewhere.

The same stands in a small file, for those who ask from outside (`accord status`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO


class Progress:
    """Counts units of work and shows rate, time left and a few values.

        ppo  12/28 iterations  43%  14 s each  0:03:44 left  kl 1.21  score 0.55

    total, start: units in all, and those done before (on a resume); the rate leaves the latter out. stream: where the
    lines go, sys.stderr by default. On a terminal at most ten updates a second are drawn. record: the file that says
    the same, written every few seconds at most.
    """

    plain_seconds = 15.0
    redraw_seconds = 0.1
    record_seconds = 3.0

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        stream: TextIO | None = None,
        *,
        start: int = 0,
        record: Path | None = None,
        beat: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, start
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._start, self._clock = start, clock
        self._began = self._drawn = clock()
        self._shown: dict[str, float | str] = {}
        self._width = 0
        self._on_screen: tuple[int, dict[str, float | str]] | None = None
        self._record, self._recorded, self._beat = record, clock(), beat

    def advance(self, n: int = 1, **shown: float | str) -> None:
        """Count `n` more units. The values given stay on the line until they are given anew."""
        self.done += n
        self._shown.update(shown)
        now = self._clock()
        if now - self._drawn >= (self.redraw_seconds if self._live else self.plain_seconds):
            self._drawn = now
            self._draw(self.line())
        if now - self._recorded >= self.record_seconds:
            self._recorded = now
            self._write_record()
            self._beat()

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

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before there is one."""
        worked = self.done - self._start
        return (self.total - self.done) * (self._clock() - self._began) / worked if worked > 0 else None

    def _write_record(self) -> None:
        """In one rename and without fsync: it is worth nothing after a crash. A full disk is the work's own trouble."""
        if self._record is None:
            return
        left = self.seconds_left
        content = {
            "label": self.label,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "seconds_left": None if left is None else round(left, 1),
            "shown": dict(self._shown),
            "written": round(time.time(), 1),
        }
        temp = self._record.with_name(f".{self._record.name}.tmp")
        with suppress(OSError):
            temp.write_text(json.dumps(content), encoding="utf-8")
            os.replace(temp, self._record)

    def __enter__(self) -> Self:
        self._write_record()
        if self._live:
            self._draw(self.line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live or self._on_screen != (self.done, self._shown):  # a plain line is not said twice
            self._draw(self.line())
        if self._live:
            print(file=self._stream, flush=True)

    def _draw(self, line: str) -> None:
        self._on_screen = (self.done, dict(self._shown))
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

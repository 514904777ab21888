"""Progress lines: rate, time left, terminal or not."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from accord.store.progress import Progress, clock_time


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line():
    clock = Clock()
    progress = Progress("ppo", 28, "iterations", io.StringIO(), clock=clock)
    clock.now = 120.0
    progress.advance(12, kl=1.2066, score=0.5)
    # 12 in 120 s: 10 s each, and 16 more are 160 s
    assert progress.line() == "ppo  12/28 iterations  42%  10 s each  0:02:40 left  kl 1.21  score 0.5"
    progress.advance(16)
    assert progress.line() == "ppo  28/28 iterations  100%  4.29 s each  0:02:00  kl 1.21  score 0.5"


def test_the_rate_leaves_out_what_a_resume_found_done():
    clock = Clock()
    progress = Progress("sft", 1000, "rows", io.StringIO(), start=900, clock=clock)
    assert progress.line() == "sft  900/1,000 rows  90%"
    clock.now = 2.0
    progress.advance(50)
    assert progress.line() == "sft  950/1,000 rows  95%  25/s  0:00:02 left"


def test_plain_lines_are_few_and_the_last_one_comes():
    clock, stream = Clock(), io.StringIO()
    with Progress("x", 100, "units", stream, clock=clock) as progress:
        for second in range(1, 41):
            clock.now = float(second)
            progress.advance()
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["15/100", "30/100", "40/100"]
    assert "\r" not in stream.getvalue()


def test_a_terminal_line_is_rewritten_and_covers_the_longer_one():
    clock, stream = Clock(), Terminal()
    with Progress("x", 3, "units", stream, clock=clock) as progress:
        clock.now = 1.0
        progress.advance(note="something long")
        clock.now = 2.0
        progress.advance(note="")
    drawn = stream.getvalue().removesuffix("\n").split("\r")[1:]
    assert stream.getvalue().count("\n") == 1
    assert len(drawn) == 4
    assert len(drawn[2]) == len(drawn[1])


def test_an_error_passes_through():
    stream = io.StringIO()
    with pytest.raises(KeyError), Progress("x", 0, "units", stream):
        raise KeyError
    assert stream.getvalue().startswith("x  0/0 units")


def test_clock_time():
    assert [clock_time(seconds) for seconds in (0.4, 59.6, 3599.7, 36000)] == [
        "0:00:00",
        "0:01:00",
        "1:00:00",
        "10:00:00",
    ]


def test_the_record_says_the_same_now_and_then(tmp_path: Path):
    clock = Clock()
    record = tmp_path / "progress.json"
    with Progress("ppo", 28, "iterations", io.StringIO(), record=record, clock=clock) as progress:
        assert json.loads(record.read_text())["done"] == 0
        clock.now = 2.0
        progress.advance(1)
        assert json.loads(record.read_text())["done"] == 0  # at most every three seconds
        clock.now = 120.0
        progress.advance(11, kl=1.2)
    content = json.loads(record.read_text())
    written = content.pop("written")
    assert written > 1e9
    assert content == {
        "label": "ppo",
        "done": 12,
        "total": 28,
        "unit": "iterations",
        "seconds_left": 160.0,
        "shown": {"kl": 1.2},
    }


def test_a_record_that_cannot_be_written_stops_nothing(tmp_path: Path):
    with Progress("ppo", 2, "rows", io.StringIO(), record=tmp_path / "none" / "progress.json") as progress:
        progress.advance(2)
    assert not (tmp_path / "none").exists()


def test_a_plain_last_line_is_not_said_twice():
    clock, stream = Clock(), io.StringIO()
    with Progress("x", 2, "units", stream, clock=clock) as progress:
        for second in (20.0, 40.0):
            clock.now = second
            progress.advance(score=second)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1/2", "2/2"]

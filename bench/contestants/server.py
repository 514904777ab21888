"""A server on this machine, asked for many chats at the same time. Its start and a few chats before are not timed.

All are asked for the same texts, greedily unless `asks` says otherwise. Tokens are counted alike for all: those of the
texts that came, without the stop.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from bench.contestants.asking import ask_at_once, is_ready
from bench.contestants.shared import Report, finish, peak_of, processor_seconds_of, read_rows, settings

_START = 600  # seconds


def main() -> None:
    """server: the words of its command, of which the first is a program of this environment. called: how chats call
    the model. asks: fields of every chat. num_warmup: chats that come first, and are not timed."""
    asked, report = settings(), Report()
    bodies = chats(asked)
    warmup, timed = bodies[: asked["num_warmup"]], bodies[asked["num_warmup"] :]
    began = time.perf_counter()
    with serving(asked) as (process, port):
        report.facts["start"] = time.perf_counter() - began
        ask_at_once(port, warmup)
        before = processor_seconds_of(process.pid)
        answers, seconds = ask_at_once(port, timed)
        report.facts["processor_seconds"] = processor_seconds_of(process.pid) - before
        peak = peak_of(process.pid)
    tokenizer = Tokenizer.from_file(str(Path(asked["model"]) / "tokenizer.json"))
    texts = [answer.text for answer in answers]
    report.seconds = [seconds]
    report.tokens = [sum(len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))]
    for name, found in (("first token", [one.first for one in answers]), ("answer", [one.last for one in answers])):
        report.phases[name] = found
        report.phases[f"{name}, p95"] = [percentile(found, 95)]
    finish(report, peak=peak)


def chats(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """With answers of unequal lengths, the same for whoever is asked."""
    draw = random.Random(asked["seed"])
    common = {"model": asked["called"].format(**asked), "temperature": 0, **asked.get("asks", {})}
    return [
        {**common, "messages": row["prompt"], "max_tokens": draw.randint(asked["shortest"], asked["longest"])}
        for row in read_rows(asked["data"])
    ]


@contextmanager
def serving(asked: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server, ready, and its port. What it says goes to our errors."""
    port = free_port()
    program, *words = (word.format(**asked, port=port) for word in asked["server"])
    command = [str(Path(sys.executable).parent / program), *words]
    with subprocess.Popen(command, stdout=sys.stderr, start_new_session=True) as process:
        try:
            until = time.monotonic() + _START
            while not is_ready(port):
                if process.poll() is not None or time.monotonic() > until:
                    sys.exit(f"the server did not start: {' '.join(command)}")
                time.sleep(0.1)
            yield process, port
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """And its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(20)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def percentile(values: Sequence[float], share: int) -> float:
    """The smallest value that `share` percent of the values do not exceed (nearest rank).

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50)
    2.0
    """
    return sorted(values)[max(0, -(-share * len(values) // 100) - 1)]


if __name__ == "__main__":
    main()

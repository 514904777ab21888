"""An estimate as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from time import localtime, strftime

from accord.engine.profile import Rates
from accord.estimate.inputs import Data
from accord.estimate.limits import gib
from accord.estimate.rows import Estimate, Row
from accord.machine import Memory
from accord.store.progress import clock_time

_HEAD = ("step", "kind", "state", "trained", "scored", "sampled", "time", "memory", "disk")
_NUM_WORDS = 3  # columns of words, which begin at the left


def lines(estimate: Estimate, compute: str, memory: Memory, free_disk: int) -> list[str]:
    """The plan as a table, with what was taken for granted below. compute: what models compute in and on."""
    rows = [_cells(row) for row in estimate.rows]
    to_run = estimate.to_run
    if to_run:
        total = _counts(
            sum(row.trained for row in to_run), sum(row.scored for row in to_run), sum(row.sampled for row in to_run)
        )
        rows.append(("total", "", "", *total, _time(estimate.seconds), _size(estimate.peak), _size(estimate.disk)))
    found = table([_HEAD, *rows])
    found += ["", f"machine: {compute}{_measured(estimate.rates)}"]
    if estimate.rates and estimate.rates.disturbed:
        found.append(
            f"other programs ran while that was measured ({estimate.rates.share:.0%} of the processors were left): the "
            "times may be too long. To measure again: accord check --measure RECIPE"
        )
    found.append(f"free: {gib(memory.available)} of {gib(memory.limit)} of memory, {gib(free_disk)} of disk")
    found += [line for name, data in estimate.data.items() for line in _data_lines(name, data)]
    running = {row.step.name for row in to_run}
    found += assumed_responses({name: one for name, one in estimate.responses.items() if name in running})
    if to_run:
        found.append("trained, scored, sampled: tokens, once for each pass of a model over them")
    if checkpoints := max((row.beside for row in to_run), default=0):
        found.append(
            f"disk: what a step leaves, and its checkpoints (up to {gib(checkpoints)}), which go when it is done; "
            "total: the most at any time"
        )
    return found


def assumed_responses(responses: Mapping[str, tuple[float, int]], how: Mapping[str, str] | None = None) -> list[str]:
    """How long responses are taken to be, on average and at most, by step: once, with the steps that it is so of. how:
    what else is said of a step."""
    of: dict[str, list[str]] = {}
    for name, (mean, most) in responses.items():
        told = (how or {}).get(name, "")
        of.setdefault(f"{mean:.0f} tokens (max_response_tokens {most})", []).append(
            name + (f" ({told})" if told else "")
        )
    said = "; ".join(f"{length}: {', '.join(names)}" for length, names in of.items())
    if not said:
        return []
    return wrap(f"assumes responses of, on average, {said}", 110, subsequent_indent="    ", break_on_hyphens=False)


def _measured(rates: Rates | None) -> str:
    if rates is None:
        return ""
    when = strftime("%Y-%m-%d %H:%M", localtime(rates.measured))
    return f", {rates.gflops:.0f} GFLOP/s, measured {when}"


def _cells(row: Row) -> tuple[str, ...]:
    if row.cached:
        return (row.step.name, row.step.kind, "cached", "", "", "", "", "", "")
    memory = _size(row.memory.total) if row.memory else ""
    disk = _size(row.kept + row.beside) if row.kept + row.beside else ""
    counts = _counts(row.trained, row.scored, row.sampled)
    return (row.step.name, row.step.kind, "to run", *counts, _time(row.seconds), memory, disk)


def _counts(*tokens: float) -> tuple[str, ...]:
    return tuple(count(num) if num else "" for num in tokens)


def count(num: float) -> str:
    """A number of tokens, short.

    >>> count(950), count(16_430), count(2_500_000)
    ('950', '16k', '2.5M')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if num >= size:
            return f"{num / size:.1f}{unit}" if num < 10 * size else f"{num / size:.0f}{unit}"
    return f"{num:.0f}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else clock_time(seconds)


def _size(num_bytes: float) -> str:
    return gib(num_bytes)


def table(rows: Sequence[Sequence[str]], num_words: int = _NUM_WORDS) -> list[str]:
    """Columns under a head. num_words: those that begin at the left."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [_line(row, widths, num_words) for row in rows]


def _line(row: Sequence[str], widths: Iterable[int], num_words: int) -> str:
    cells = [
        cell.ljust(width) if at < num_words else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _data_lines(name: str, data: Data) -> list[str]:
    parts = ", ".join(f"{part} {records.total:,} {records.kind}" for part, records in data.parts.items())
    left_out: dict[str, int] = {}
    num_rows = num_left_out = 0
    for source in data.summary.get("sources", {}).values():
        num_rows, num_left_out = num_rows + source["num_rows"], num_left_out + source["num_left_out"]
        for code, number in source["flaws"].items():
            left_out[code] = left_out.get(code, 0) + number
    found = wrap(f"data {name}: {parts}", 100, subsequent_indent="    ")
    if num_left_out:
        codes = ", ".join(f"{code} {number:,}" for code, number in left_out.items())
        found.append(f"data {name}: {num_left_out:,} of {num_rows:,} rows left out ({codes})")
    return found

"""Medians, ratios and the table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Result = Mapping[str, Any]
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Spread:
    """A median over rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True)
class Line:
    """Of a contestant. seconds: of a step. ratio: of its time, for the same work, to the first one's, round by round.
    tokens: a second. share: useful FLOPs of training as a share of the peak. memory: bytes."""

    contestant: str
    num_rounds: int
    seconds: Spread
    ratio: Spread | None
    tokens: float | None
    share: Spread | None
    memory: int
    memory_ratio: float | None
    phases: dict[str, float]


def step_seconds(result: Result, steps_an_epoch: int = 1) -> float:
    """Of one step: the median over passes of the mean over the steps of a pass.

    >>> step_seconds({"seconds": [1.0, 3.0, 2.0, 6.0]}, 2)
    3.0
    """
    seconds: list[float] = result["seconds"]
    passes = [seconds[at : at + steps_an_epoch] for at in range(0, len(seconds), steps_an_epoch)]
    return median(sum(one) / len(one) for one in passes)


def cost(result: Result, steps_an_epoch: int = 1) -> float:
    """Seconds a token that was written, or a step where nothing is written: what contestants are compared by."""
    if result.get("tokens"):
        return float(median(s / n for s, n in zip(result["seconds"], result["tokens"], strict=True)))
    return step_seconds(result, steps_an_epoch)


def peak_share(result: Result, flops: float, seconds: float) -> float | None:
    """Useful FLOPs a second as a share of the matrix-product rate, the mean of before and after."""
    if not flops or not result.get("gflops"):
        return None
    rates: list[float] = result["gflops"]
    return flops / seconds / (1e9 * sum(rates) / len(rates))


def lines(rounds: Sequence[Mapping[str, Any]], first: str, steps_an_epoch: int = 1) -> list[Line]:
    """rounds: each with `material` (what of the batch is counted) and `results` by contestant. What failed is left
    out."""
    names = list(dict.fromkeys(name for one in rounds for name in one["results"]))
    memory = {name: _memory(rounds, name) for name in names}
    found = []
    for name in names:
        own = [one for one in rounds if "seconds" in one["results"].get(name, {})]
        if not own:
            continue
        results = [one["results"][name] for one in own]
        seconds = [step_seconds(result, steps_an_epoch) for result in results]
        ratios = [
            cost(one["results"][name], steps_an_epoch) / cost(one["results"][first], steps_an_epoch)
            for one in own
            if name != first and "seconds" in one["results"].get(first, {})
        ]
        shares = [
            peak_share(result, one["material"].get("training_flops", 0.0) / steps_an_epoch, took)
            for one, result, took in zip(own, results, seconds, strict=True)
        ]
        known = [share for share in shares if share is not None]
        of_first = memory.get(first)
        found.append(
            Line(
                contestant=name,
                num_rounds=len(own),
                seconds=Spread.of(seconds),
                ratio=Spread.of(ratios) if ratios else None,
                tokens=_tokens(own, results, seconds, steps_an_epoch),
                share=Spread.of(known) if known else None,
                memory=memory[name] or 0,
                memory_ratio=memory[name] / of_first if name != first and of_first and memory[name] else None,
                phases=_phases(results),
            )
        )
    return found


def _memory(rounds: Sequence[Mapping[str, Any]], name: str) -> int:
    """The median of the peaks."""
    peaks = [one["results"][name]["peak_bytes"] for one in rounds if "peak_bytes" in one["results"].get(name, {})]
    return int(median(peaks)) if peaks else 0


def _tokens(
    rounds: Sequence[Mapping[str, Any]], results: Sequence[Result], seconds: Sequence[float], steps_an_epoch: int
) -> float | None:
    """Written a second, or real ones of the batch."""
    if results[0].get("tokens"):
        return 1 / median(cost(result) for result in results)
    if not rounds[0]["material"].get("num_tokens"):
        return None
    counted = (one["material"]["num_tokens"] / steps_an_epoch for one in rounds)
    return float(median(tokens / took for tokens, took in zip(counted, seconds, strict=True)))


def _phases(results: Sequence[Result]) -> dict[str, float]:
    names = list(dict.fromkeys(name for result in results for name in result.get("phases", {})))
    return {name: median(median(r["phases"][name]) for r in results if r["phases"].get(name)) for name in names}


def table(found: Sequence[Line], first: str) -> str:
    """In Markdown."""
    head = [
        "contestant",
        "seconds",
        f"time / {first}",
        "tokens/s",
        "peak memory",
        f"/ {first}",
        "of peak rate",
        "parts",
    ]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in found:
        cells = [
            line.contestant,
            str(line.seconds),
            str(line.ratio) if line.ratio else _own(line, first),
            f"{line.tokens:.0f}" if line.tokens else "",
            f"{line.memory / GIB:.2f} GiB",
            f"{line.memory_ratio:.2f}" if line.memory_ratio else _own(line, first),
            f"{100 * line.share.median:.0f} %" if line.share else "",
            ", ".join(f"{name} {seconds:.2f}" for name, seconds in line.phases.items()),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _own(line: Line, first: str) -> str:
    """The ratio of the first one to itself; of others there is none where the first did not run."""
    return "1" if line.contestant == first else ""

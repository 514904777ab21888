"""How often alarms are false, and how often a fault is found: on series that are made up, and on runs of a tiny model.

    python -m bench.alarms run            # what is done is not done again
    python -m bench.alarms table

Made up are series of a healthy training: rises that level off, noise of means of 64 responses, slow drifts, a watching
reward that is measured every fourth iteration; all sizes are drawn anew for each series (`healthy`, `healthy_pairs`).
Into such a series one fault is put at a time (`FAULTS`). They say how the rules do with noise, and not how often real
trainings fail. The tiny runs are the recipes of tests/sabotage and their healthy twins, by seeds.

"At the end": the alarm is given of the whole series, as summary.json has it. "Ever": it was given of the series up to
some iteration, which is what ends a training with `alarms: stop`; also one of which another alarm says the why.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from accord.algorithms.statistics import wilson
from accord.monitor.alarms import alarms
from accord.monitor.reactions import causes
from bench.alarms_series import FAULTS, OF_PAIRS, Columns, Rng, healthy, healthy_pairs, rows_of

RESULTS = Path(__file__).parent / "results" / "alarms.json"
LENGTHS = {12: 400, 30: 400, 100: 100}  # iterations -> healthy series
NUM_FAULTY = 100  # series of each fault
OF_FAULTS = 30  # iterations


def observed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The alarms at the end, and of each the first iteration at which it would have ended the training."""
    first: dict[str, int] = {}
    for num in range(1, len(rows) + 1):
        for alarm in causes(rows[:num]):
            first.setdefault(alarm.name, num)
    return {"end": [alarm.name for alarm in alarms(rows)], "first": first}


def healthy_cell(num: int, count: int, make: Callable[[Rng, int], Columns], seed: int) -> dict[str, Any]:
    """Of how many series each alarm was given."""
    end: dict[str, int] = {}
    ever: dict[str, int] = {}
    for at in range(count):
        rng = np.random.default_rng([seed, num, at])
        found = observed(rows_of(rng, make(rng, num), num))
        for name in found["end"]:
            end[name] = end.get(name, 0) + 1
        for name in found["first"]:
            ever[name] = ever.get(name, 0) + 1
        end["any"] = end.get("any", 0) + bool(found["end"])
        ever["any"] = ever.get("any", 0) + bool(found["first"])
    return {"num": count, "end": end, "ever": ever}


def faulty_cell(name: str, num: int, count: int, seed: int) -> dict[str, Any]:
    """Of how many series with a fault its alarm was given, and how many iterations after it began (the median)."""
    make = healthy_pairs if name in OF_PAIRS else healthy
    end = ever = 0
    late = []
    for at in range(count):
        rng = np.random.default_rng([seed, num, at])
        columns = make(rng, num)
        since = int(rng.integers(num // 4, num // 2))
        FAULTS[name](rng, columns, num, since)
        found = observed(rows_of(rng, columns, num))
        end += name in found["end"]
        if name in found["first"]:
            ever += 1
            late.append(found["first"][name] - since)
    return {"num": count, "end": end, "ever": ever, "late": median(late) if late else None}


def run(path: Path, seeds: int) -> None:
    """Does what is not done yet, and writes the results after each part."""
    done: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def part(name: str, make: Callable[[], Any]) -> None:
        if name not in done:
            done[name] = make()
            write(path, done)
            print(name, json.dumps(done[name])[:160], flush=True)

    for num, count in LENGTHS.items():
        part(f"healthy {num}", lambda num=num, count=count: healthy_cell(num, count, healthy, 1))
        part(f"healthy pairs {num}", lambda num=num, count=count: healthy_cell(num, count, healthy_pairs, 2))
    for name in FAULTS:
        part(f"fault {name}", lambda name=name: faulty_cell(name, OF_FAULTS, NUM_FAULTY, 3))
    if seeds:
        from bench.alarms_tiny import tiny_runs

        for name, make in tiny_runs(seeds):
            part(name, make)


def write(path: Path, done: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def share(num: int, of: int) -> str:
    """In percent, with its Wilson interval."""
    value = wilson(num, of)
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def table(path: Path) -> str:
    done = json.loads(path.read_text(encoding="utf-8"))
    lengths = [num for num in LENGTHS if f"healthy {num}" in done]
    lines = [
        "| alarm | "
        + " | ".join(f"false, {num} iterations: end; ever" for num in lengths)
        + " | found: end; ever | late |"
    ]
    lines.append("|---" * (len(lengths) + 3) + "|")
    for name in (*FAULTS, "any"):
        cells = []
        for num in lengths:
            cell = done[f"healthy pairs {num}" if name in OF_PAIRS else f"healthy {num}"]
            cells.append("; ".join(share(cell[when].get(name, 0), cell["num"]) for when in ("end", "ever")))
        fault = done.get(f"fault {name}")
        found = "" if fault is None else "; ".join(share(fault[when], fault["num"]) for when in ("end", "ever"))
        late = "" if fault is None or fault["late"] is None else f"{fault['late']:g}"
        lines.append(f"| `{name}` | " + " | ".join([*cells, found, late]) + " |")
    tiny = sorted(name for name in done if name.startswith("tiny "))
    if tiny:
        lines += ["", "| recipe | its alarm | found | in the twin | any alarm in the twin |", "|---|---|---|---|---|"]
        for name in tiny:
            one = done[name]
            cells = [share(one[key], one["num"]) for key in ("found", "twin", "any")]
            lines.append(f"| {name.removeprefix('tiny ')} | `{one['alarm']}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m bench.alarms", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--seeds", type=int, default=10, help="of each tiny run (0: none)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(given)
    if arguments.what == "run":
        run(arguments.out, arguments.seeds)
    print(table(arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())

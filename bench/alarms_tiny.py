"""Of `bench.alarms`: the recipes of tests/sabotage and their healthy twins on a tiny random model, by seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from tests.fixtures.sabotage import SABOTAGE, alarms_of
from tests.fixtures.tiny_model import make_model


def tiny_runs(seeds: int) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """A name and what measures it, for each recipe."""
    for name in SABOTAGE:
        yield f"tiny {name}", lambda name=name: tiny_run(name, seeds)


def tiny_run(name: str, seeds: int) -> dict[str, Any]:
    """In how many of so many seeds the alarm was given of the fault, of the twin, and any at all of the twin."""
    one = SABOTAGE[name]
    found = twin = some = 0
    others: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model")
        for seed in range(1, seeds + 1):
            store = Path(folder) / f"store-{seed}"
            with redirect_stderr(StringIO()), redirect_stdout(StringIO()):
                found += one.alarm in alarms_of(name, model, store, f"seed={seed}")
                healthy = alarms_of(name, model, store, *one.twin, f"seed={seed}")
            twin += one.alarm in healthy
            some += bool(healthy)
            for alarm in healthy:
                others[alarm] = others.get(alarm, 0) + 1
    return {"alarm": one.alarm, "num": seeds, "found": found, "twin": twin, "any": some, "of twins": others}

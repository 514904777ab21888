"""What `accord check` estimates against what a run takes: time and peak memory of each step, disk of each artifact.

    python bench/estimates.py recipes/quickstart.yaml --store /tmp/estimates --out bench/results/estimates.json

The estimate is made first, for the whole recipe. Then every step that is not in the store runs in a process of its own,
so that its peak memory is its own. Timings mean something on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from accord.estimate.check import check
from accord.overrides import apply_overrides
from accord.plan import Plan, make_plan
from accord.recipe import load_recipe
from accord.run import StepRecord, run_recipe
from accord.status import num_bytes
from accord.steps.registry import STEPS
from accord.store.artifacts import Store

_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="NAME.KEY=VALUE")
    parser.add_argument("--out", type=Path, help="where the results go, as JSON")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # a process of our own: "estimate", or the name of a step
    arguments = parser.parse_args()
    plan = make_plan(apply_overrides(load_recipe(arguments.recipe), arguments.overrides), STEPS)
    store = Store(arguments.store)
    if arguments.only == "estimate":
        print(json.dumps(estimate(plan, store)))
    elif arguments.only:
        print(json.dumps(run(plan, store, arguments.only)))
    else:
        compare(plan, arguments)


def estimate(plan: Plan, store: Store) -> dict[str, Any]:
    """Of each step that is left to run."""
    store.root.mkdir(parents=True, exist_ok=True)
    found = check(plan, STEPS, store)
    rates = found.estimate.rates
    steps = {
        row.step.name: {
            "seconds": row.seconds,
            "memory": row.memory.total if row.memory else None,
            "disk": row.kept or None,
        }
        for row in found.estimate.to_run
    }
    return {"steps": steps, "rates": rates.as_json() if rates else None}


def run(plan: Plan, store: Store, name: str) -> dict[str, Any]:
    """Runs up to a step, and says what this process took for it."""
    done: list[StepRecord] = []
    run_recipe(plan.recipe, STEPS, store, until=name, finish=lambda _, records: done.extend(records), say=_quiet)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    return {"seconds": done[-1].seconds, "memory": peak, "disk": num_bytes(done[-1].artifact.path)}


def compare(plan: Plan, arguments: argparse.Namespace) -> None:
    """Prints a line for each step as it is done, and writes the results."""
    expected = _child(arguments, "estimate")
    results: dict[str, Any] = {
        "recipe": str(arguments.recipe),
        "overrides": arguments.overrides,
        "rates": expected["rates"],
        "steps": {},
    }
    print(f"{'step':16} {'kind':8} {'seconds':>22} {'GiB of memory':>22} {'GiB of disk':>22}")
    for step in plan.steps:
        if step.name not in expected["steps"]:
            continue
        guess, took = expected["steps"][step.name], _child(arguments, step.name)
        results["steps"][step.name] = {"kind": step.kind, "estimated": guess, "measured": took}
        cells = [
            _against(guess["seconds"], took["seconds"], 1.0),
            _against(guess["memory"], took["memory"], 2**30),
            _against(guess["disk"], took["disk"], 2**30),
        ]
        print(f"{step.name:16} {step.kind:8} {cells[0]:>22} {cells[1]:>22} {cells[2]:>22}", flush=True)
        if arguments.out:
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def _child(arguments: argparse.Namespace, only: str) -> dict[str, Any]:
    command = [sys.executable, __file__, str(arguments.recipe), "--store", str(arguments.store), "--only", only]
    command += [word for text in arguments.overrides for word in ("--set", text)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def _against(guess: float | None, took: float, unit: float) -> str:
    """Estimated, measured, and the error of the estimate."""
    if guess is None:
        return f"- {took / unit:.2f}"
    return f"{guess / unit:.2f} {took / unit:.2f} {100 * (guess / took - 1):+.0f} %"


def _quiet(line: str) -> None:
    pass


if __name__ == "__main__":
    main()

"""`python -m bench [NAME ...]`: the speed benchmarks. Without a name, what there is."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import bench.speed
from bench.speed.case import Case, smoked
from bench.speed.cases import CASES, chosen

RESULTS = Path(__file__).parent / "results" / "speed"


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m bench", description=bench.speed.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a case, or what the names of some begin with")
    parser.add_argument("--rounds", type=int, help="instead of the case's own number")
    parser.add_argument("--contestants", help="some of them, with commas between")
    parser.add_argument("--json", action="store_true", help="print the results as JSON, and no table")
    parser.add_argument("--smoke", action="store_true", help="two examples, one round, nothing kept: whether it runs")
    parser.add_argument("--table", action="store_true", help="run nothing: the tables of what is in bench/results")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results are kept (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "accord-speed")
    arguments = parser.parse_args(given)
    if not arguments.names:
        print("\n".join(f"{name:20} {case.about}: {', '.join(case.contestants)}" for name, case in CASES.items()))
        return 0
    try:
        cases = chosen(arguments.names)
    except KeyError as error:
        parser.error(f"there is no case {error}")
    failed = False
    for name, case in cases.items():
        failed |= not (show(name, case, arguments) if arguments.table else measure(name, case, arguments))
    return int(failed)


def measure(name: str, case: Case, arguments: argparse.Namespace) -> bool:
    """Runs a case, keeps its results and prints them. Returns whether all ran and computed the same."""
    from bench.speed.run import run_case

    case = smoked(case) if arguments.smoke else case
    names = arguments.contestants.split(",") if arguments.contestants else list(case.contestants)
    if unknown := [one for one in names if one not in case.contestants]:
        sys.exit(f"{name} has no contestant {unknown[0]!r}, but {', '.join(case.contestants)}")
    arguments.work.mkdir(parents=True, exist_ok=True)
    found = run_case(name, case, arguments.rounds or case.rounds, names, arguments.work)
    folder = arguments.work / "smoke" if arguments.smoke else arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
    print(json.dumps(found) if arguments.json else described(name, case, found), flush=True)
    return bool(found["agrees"] and not found["failed"])


def show(name: str, case: Case, arguments: argparse.Namespace) -> bool:
    path = arguments.out / f"{name}.json"
    if not path.is_file():
        print(f"\n{name}: not run yet")
        return True
    found = json.loads(path.read_text(encoding="utf-8"))
    print(json.dumps(found) if arguments.json else described(name, case, found))
    return True


def described(name: str, case: Case, found: dict[str, Any]) -> str:
    """A table, and what is wrong."""
    from bench.speed.run import steps_an_epoch
    from bench.speed.tables import lines, table

    text = [f"\n{name}: {found['about']} ({len(found['rounds'])} rounds, {found['date']})\n"]
    text.append(table(lines(found["rounds"], case.first, steps_an_epoch(case)), case.first))
    for one in found["differences"]:
        if not one["agrees"]:
            text.append(
                f"DOES NOT COMPUTE THE SAME: {one['contestant']}, round {one['round'] + 1}: its {one['quantity']} is "
                f"{100 * one['share']:.2f} % off {one['against']}'s, and {100 * one['allowed']:g} % are allowed"
            )
    text += [f"FAILED: {one} ({why})" for one, why in found["failed"].items()]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())

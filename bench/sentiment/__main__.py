from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import bench.sentiment
from accord.errors import UserError
from bench.sentiment.cases import CASES, settings_of
from bench.sentiment.measure import run_case
from bench.sentiment.tables import RESULTS, picture, read, table


def run(seed: int, cases: list[str], store: Path) -> None:
    """The cases that are not done yet. A run that broke is a result, too."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for case in cases:
        path = RESULTS / f"{case}-{seed}.json"
        if path.exists():
            read(path)
            continue
        try:
            found = run_case(case, seed, store)
        except UserError as error:
            found = {"case": case, "seed": seed, "failed": error.what}
        found["settings"] = settings_of(case, seed)
        path.write_text(json.dumps(found) + "\n", encoding="utf-8")
        print(f"{case}, seed {seed}: done", flush=True)


def main() -> None:
    description, formatter = bench.sentiment.__doc__, argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m bench.sentiment", description=description, formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--seed", type=int, required=True)
    running.add_argument("--case", action="append", choices=CASES)
    running.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "accord-sentiment")
    commands.add_parser("table")
    commands.add_parser("picture").add_argument("path", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.seed, arguments.case or list(CASES), arguments.store)
    elif arguments.command == "table":
        table()
    else:
        picture(arguments.path)


if __name__ == "__main__":
    main()

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import bench.llama2
from accord.errors import UserError
from bench.llama2.cases import CASES
from bench.llama2.picture import picture
from bench.llama2.results import path_of, read, write
from bench.llama2.tables import table


def run(seed: int, cases: list[str], scratch: Path) -> None:
    """The cases that are not done yet. A run that broke is a result, too."""
    for case in cases:
        if path_of(case, seed).exists():
            read(path_of(case, seed))
            continue
        try:
            found = CASES[case].measure(case, seed, scratch)
        except UserError as error:
            found = {"failed": error.what}
        write(case, seed, found)
        print(f"{case}, seed {seed}: {found.get('failed', 'done')}", flush=True)


def main() -> None:
    description, formatter = bench.llama2.__doc__, argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m bench.llama2", description=description, formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--seed", type=int, required=True)
    running.add_argument("--case", action="append", choices=CASES)
    running.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "accord-llama2")
    commands.add_parser("table")
    commands.add_parser("picture").add_argument("path", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "table":
        table()
    elif arguments.command == "picture":
        picture(arguments.path)
    else:
        run(arguments.seed, arguments.case or list(CASES), arguments.scratch)


if __name__ == "__main__":
    main()

"""Tests of labels and pages on a PostgreSQL server of their own: `python -m tests.on_postgres [ARGUMENTS]`."""

from __future__ import annotations

import os
import sys

import pytest

from tests.fixtures.databases import SERVER
from tests.fixtures.postgres import programs, server

SUITES = ["tests/labels", "tests/web"]


def main() -> int:
    binaries = programs()
    if binaries is None:
        print("there is no PostgreSQL on this machine: install Debian's `postgresql`", file=sys.stderr)
        return 1
    with server(binaries) as url:
        os.environ[SERVER] = url
        at_once = ["--numprocesses", "logical", "--maxprocesses", "8", "--dist", "worksteal"]
        return int(pytest.main([*SUITES, "-m", "not sqlite", *at_once, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())

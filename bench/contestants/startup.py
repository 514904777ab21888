"""How long a command takes from its start to its end: the mean of a few calls after one that warms the disk's cache."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

from bench.contestants.shared import MAXRSS_UNIT, Report, finish, settings


def main() -> None:
    """command: its words, of which the first is a program of this environment."""
    asked, report = settings(), Report()
    program, *words = asked["command"]
    command = [str(Path(sys.executable).parent / program), *words]
    for call in range(1 + asked["num_timed"]):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if call:
            report.seconds.append(time.perf_counter() - began)
    finish(report, peak=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * MAXRSS_UNIT)


if __name__ == "__main__":
    main()

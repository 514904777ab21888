"""What is in a run's folder and beside it, by name.

store/runs/<run>/plan.json     its steps, and where it was started
                 recipe.yaml   as run, with the overrides named on top
                 report.html   what came out, as one page
                 log.txt       what its process said, where it was started from a page
           .<run>.lock         held by the process that works on it
           .<run>.stopping     the number of a process that was asked to stop
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

PLAN, RECIPE, LOG, REPORT = "plan.json", "recipe.yaml", "log.txt", "report.html"


def run_name(recipe: Path) -> str:
    """What the folder of a recipe's runs is called, unless it is given a name.

    >>> run_name(Path("recipes/my first.yaml"))
    'my-first'
    """
    return re.sub(r"[^\w-]+", "-", recipe.stem).strip("-") or "run"


def recipe_as_run(text: str, overrides: Sequence[str]) -> str:
    """What stands in `recipe.yaml`."""
    return "".join(f"# --set {json.dumps(one)}\n" for one in overrides) + text


def lock_of(run_dir: Path) -> Path:
    return run_dir.with_name(f".{run_dir.name}.lock")


def stopping_of(run_dir: Path) -> Path:
    return run_dir.with_name(f".{run_dir.name}.stopping")

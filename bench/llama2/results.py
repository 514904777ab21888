"""The files of numbers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.llama2.cases import settings_of

RESULTS = Path(__file__).parents[1] / "results" / "llama2"


def read(path: Path) -> dict[str, Any]:
    """A result. Exits when it was measured with other settings than the case has now."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings_of(found["case"], found["seed"]):
        sys.exit(f"{path} was measured with other settings than {found['case']} has now: delete it and run the case")
    return found


def write(case: str, seed: int, found: dict[str, Any]) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    whole = {"case": case, "seed": seed, "settings": settings_of(case, seed), **found}
    path_of(case, seed).write_text(json.dumps(whole, separators=(",", ":")) + "\n", encoding="utf-8")


def path_of(case: str, seed: int) -> Path:
    return RESULTS / f"{case}-{seed}.json"


def seeds_of(case: str) -> list[dict[str, Any]]:
    """What each seed gave, in their order; runs that broke are left out."""
    found = [read(path) for path in RESULTS.glob(f"{case}-*.json") if path.stem.removeprefix(f"{case}-").isdigit()]
    return sorted((one for one in found if "failed" not in one), key=lambda one: int(one["seed"]))

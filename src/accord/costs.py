"""What the steps of runs in a store have cost, from the accounts in their manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accord.errors import UserError
from accord.monitor.cost import Assumptions, Cost, StepCost, cost_of
from accord.store.artifacts import Store
from accord.store.digests import MANIFEST
from accord.store.spending import from_json


def step_costs(plan: Mapping[str, Any], store: Store, assumed: Assumptions) -> list[StepCost]:
    """Of a run's finished steps, in their order. plan: its plan.json. Those whose artifacts are gone are left out."""
    return [
        StepCost(row["name"], row["kind"], row["cached"] is False, _cost(store.root / row["artifact"], assumed))
        for row in plan["steps"]
        if row["artifact"] and (store.root / row["artifact"] / MANIFEST).is_file()
    ]


def run_costs(run_dir: Path, store: Store, assumed: Assumptions) -> list[StepCost]:
    """Of the run in a folder. Raises UserError."""
    return step_costs(_plan(run_dir), store, assumed)


def costs_of(artifacts: Iterable[Path], assumed: Assumptions) -> list[Cost | None]:
    """Of artifacts by their folders, each once."""
    return [_cost(path, assumed) for path in dict.fromkeys(artifacts) if (path / MANIFEST).is_file()]


def _cost(folder: Path, assumed: Assumptions) -> Cost | None:
    return cost_of(from_json(_read(folder / MANIFEST).get("spent")), assumed)


def _plan(run_dir: Path) -> Mapping[str, Any]:
    plan = _read(run_dir / "plan.json")
    if not isinstance(plan, dict) or "steps" not in plan:
        what = "this is not the plan of a run"
        raise UserError(what, where=str(run_dir / "plan.json"), remedy="Run the recipe again.")
    return plan


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), remedy="Run the recipe again.") from error

"""Sweeps from Python: a recipe with several values of its keys, over several seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accord.api.runs import DEFAULT_STORE, open_recipe, places, yaml_text
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.store.place import store_folder


def sweep_recipe(
    recipe: str | Path | Mapping[str, Any],
    values: Mapping[str, Sequence[Any]],
    *,
    seeds: int | Sequence[int] = 3,
    metric: str | None = None,
    policy: str | None = None,
    lower: bool = False,
    name: str | None = None,
    store: str | Path = DEFAULT_STORE,
    retry: bool = False,
    force: bool = False,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run a recipe with every combination of values, over several seeds, or go on with it. Gives what sweep.json holds.

    values: {"ppo.kl_coef": [0.01, 0.05]}. seeds: so many from the recipe's on, or these. metric: a number of the
    evaluated policy, or "STEP:KEY" for what a step logs; by default gold_win_rate. policy: whose, by default the last
    evaluated one that is not the baseline. lower: smaller is better. name: of the sweep, by default the recipe file's.
    retry: make runs again that failed before. force: run what seems not to fit, too. In what comes back
    "settings" are the rows of the table, "runs" what came of each run, failed ones included, and "verdict" is what may
    be said. Raises UserError when a run cannot be planned, and Interrupted after Ctrl-C.
    """
    from accord.sweep.grid import Axis
    from accord.sweep.runs import FILE, bring_to, overview, plan_sweep, run_sweep

    axes = tuple(Axis(key, tuple(yaml_text(value, flow=True) for value in several)) for key, several in values.items())
    place, called = Store(store_folder(store)), name or "sweep"
    with places(recipe, called):
        planned = plan_sweep(
            open_recipe(recipe, (), called),
            axes,
            STEPS,
            seeds=str(seeds) if isinstance(seeds, int) else tuple(seeds),
            metric=metric,
            policy=policy,
            lower=lower,
            name=name,
        )
    for line in overview(planned, place):
        say(line)
    folder = run_sweep(planned, place, bring_to(place, STEPS, force=force), retry=retry, say=say)
    found: dict[str, Any] = json.loads((folder / FILE).read_bytes())
    return found

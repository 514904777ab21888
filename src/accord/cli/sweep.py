"""sweep: a recipe with several values of its keys, over several seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from accord.cli.common import DEFAULT_STORE, RecipeArgument, StoreOption, recipe_file, say, user_errors


def sweep(
    recipe: RecipeArgument,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME.KEY=VALUE,...", help="A step's key and its values. May be repeated."),
    ] = None,
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N or LIST", help="So many, from the recipe's on; or these, as in 1,4,7.")
    ] = "3",
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="KEY or STEP:KEY", help="What is compared; gold_win_rate.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="NAME", help="Whose metric; the last evaluated policy's.")
    ] = None,
    lower: Annotated[bool, typer.Option("--lower", help="The metric is better the smaller it is.")] = False,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the sweep; as the recipe.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results there, too.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Make runs again that failed before.")] = False,
    estimates: Annotated[
        bool, typer.Option("--estimates/--no-estimates", help="Estimate time and disk before the first run.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Run even what seems not to fit.")] = False,
) -> None:
    """Run a recipe with every combination of values, over several seeds, and compare: one table, failed runs included.

    Steps that two runs have in common are made once. Stopped, the same command goes on. Status 1 when a run failed.
    """
    with user_errors():
        from accord.recipe import load_recipe
        from accord.steps.registry import STEPS
        from accord.store import atomic
        from accord.store.artifacts import Store
        from accord.sweep.grid import parse_axes
        from accord.sweep.runs import FILE, bring_to, overview, plan_sweep, run_sweep

        planned = plan_sweep(
            load_recipe(recipe_file(recipe)),
            parse_axes(overrides or []),
            STEPS,
            seeds=seeds,
            metric=metric,
            policy=policy,
            lower=lower,
            name=name,
        )
        place = Store(store)
        for line in overview(planned, place):
            say(line)
        if estimates:
            from accord.sweep.cost import estimate

            say(estimate(list(planned.runs), STEPS, place, force=force))
        folder = run_sweep(planned, place, bring_to(place, STEPS, force=force), retry=retry, say=say)
        if json_file is not None:
            with atomic.disk_errors(json_file):
                json_file.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_text(json_file, (folder / FILE).read_text(encoding="utf-8"))
        say("")
        say((folder / "table.txt").read_text(encoding="utf-8"))
        say(f"the sweep is in {folder}")
        if any(run["status"] == "failed" for run in json.loads((folder / FILE).read_bytes())["runs"]):
            raise typer.Exit(1)

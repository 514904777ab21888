"""What the commands share: options, the shipped recipes, and errors as one message and a status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from accord.errors import Interrupted, UserError, Waiting, did_you_mean
from accord.printable import printable

RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe: a YAML file, or the name of one that comes with Accord.")
]


def _store_folder(given: str) -> Path:
    """In the words of the command line: what is wrong with an option is said before the command begins."""
    from accord.store.place import store_folder

    try:
        return store_folder(given)
    except UserError as error:
        raise typer.BadParameter(printable(str(error), "�")) from None


StoreOption = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="DIR|URL",
        help="Where artifacts and runs are kept; of a URL such as s3://BUCKET/PREFIX, what other machines share.",
        parser=_store_folder,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.KEY=VALUE", help="Override a step's key, or seed=N. May be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]

DEFAULT_STORE = Path("accord-store")
WAITING = 75  # the status of a command that has done what it can for now


def shipped_recipe(name: str) -> Path:
    """A recipe that comes with Accord: in the package, or in the checkout's `recipes` beside `src`."""
    shipped = _shipped()
    if name in shipped:
        return shipped[name]
    remedy = did_you_mean(name, shipped) if shipped else _INCOMPLETE
    raise UserError(f"there is no recipe {name!r} in this installation", remedy=remedy)


def recipe_file(given: Path) -> Path:
    """The file of a RECIPE argument: a path, or the bare name of a recipe that comes with Accord. Raises UserError."""
    if given.is_file() or given.suffix or len(given.parts) != 1:
        return given  # one that cannot be read is an error of whoever reads it
    shipped = _shipped()
    if given.name in shipped:
        return shipped[given.name]
    names = f"Name a YAML file, or one of {', '.join(sorted(shipped))}." if shipped else _INCOMPLETE
    raise UserError(f"there is no file {given.name!r}, and no recipe of that name comes with Accord", remedy=names)


_INCOMPLETE = "This installation is not complete: install Accord again."


def _shipped() -> dict[str, Path]:
    package = Path(__file__).parents[1]
    folders = [package.parents[1] / "recipes", package / "recipes"]
    return {path.stem: path for folder in folders for path in folder.glob("*.yaml")}


def run_dir_of(run: str, store: Path) -> Path:
    """The folder of a run that is given by name or folder. Raises UserError."""
    runs = store / "runs"
    for folder in (Path(run), runs / run):
        if (folder / "plan.json").is_file():
            return folder
    known = [path.parent.name for path in runs.glob("*/plan.json")]
    remedy = did_you_mean(run, known) if known else "Run a recipe first, or name its store with --store."
    raise UserError(f"there is no run {run!r}", where=str(runs), remedy=remedy)


def say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def user_errors(*, goes_on: bool = True) -> Iterator[None]:
    """One message and a status instead of a traceback; what is not the user's keeps its traceback. goes_on: whether the
    same command, stopped by Ctrl-C, goes on where it was."""
    try:
        yield
    except UserError as error:
        text = f"error: {error}".encode(errors="backslashreplace").decode()  # a file name may hold halves of characters
        print(printable(text, "�"), file=sys.stderr)
        raise typer.Exit(2) from None
    except Waiting as waiting:
        print(f"waiting: {printable(str(waiting))}\n  The same command goes on when they are there.", file=sys.stderr)
        raise typer.Exit(WAITING) from None
    except (Interrupted, KeyboardInterrupt) as stop:
        how = "stopped, and saved" if isinstance(stop, Interrupted) else "stopped"
        then = "; the same command goes on from the last finished step or checkpoint" if goes_on else ""
        print(f"\n{how}{then}", file=sys.stderr)
        raise typer.Exit(130) from None

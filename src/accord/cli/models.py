"""models, export, card: the models that are here and what a recipe calls them, a model as others take it, its card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, run_dir_of, say, user_errors
from accord.printable import printable

_MODEL = "A run (its last policy), RUN:STEP, a folder, or what a recipe's `model` can name."


def models(store: StoreOption = DEFAULT_STORE) -> None:
    """List the models that a recipe can start from: built in, trained here, and in the hub's cache."""
    with user_errors():
        from accord.models.hub import cached_models
        from accord.models.sources import BUILTIN
        from accord.store.fetch import is_fetched

        say("Built in")
        _table(
            [
                (one.name, f"{one.size}, {one.licence}", "here" if is_fetched(one.requirements) else "to be fetched")
                for one in BUILTIN.values()
            ]
        )
        say(f"\nTrained here, in {store}")
        _table(_trained(store))
        say("\nIn the cache of the Hugging Face hub")
        _table([(one.name, _size(one.num_bytes), "" if one.complete else "without weights") for one in cached_models()])
        say(
            "\nIn a recipe: `model: NAME`, with the name or path of the first column. Also the path of any Hugging Face"
        )
        say("folder or .gguf file, and a hub id, OWNER/NAME or OWNER/NAME@REVISION.")


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write, or a file that ends in .gguf.")],
    gguf: Annotated[bool, typer.Option("--gguf", help="Write a GGUF file, for llama.cpp and its like.")] = False,
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")] = "float32",
    force: Annotated[bool, typer.Option("--force", help="Replace a model that is there.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a model as an ordinary Hugging Face folder, of a run's model with its card, or as a GGUF file."""
    with user_errors():
        from accord.api.sources import find_policy, ready_folder
        from accord.errors import UserError

        if gguf and out.suffix != ".gguf":
            raise UserError(f"{str(out)!r} is no name of a GGUF file", remedy=f"Write {out.name}.gguf.")
        _refuse_untrained(model, store)
        found = find_policy(model, store)
        from accord.models.export import export as write

        folder = found if isinstance(found, Path) else ready_folder(found)
        card = None if out.suffix == ".gguf" else _card_of(model, store)
        say(f"{write(folder, out, dtype=dtype, force=force, card=card)}: {_size(_num_bytes(out))} in {dtype}")
        if card is not None:
            say(f"its card is {out / 'README.md'}: it names the run's recipe and data, so read it before you publish")


def card(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or its folder.")],
    step: Annotated[
        str | None, typer.Argument(metavar="STEP", help="The step that made the model. Default: the last policy.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write DIR/README.md. Default: print it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a README.md that is there.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the card of a model that a run has made: README.md of a Hugging Face folder."""
    with user_errors():
        from accord.card import card_text
        from accord.errors import UserError

        text = card_text(run_dir_of(run, store), step)
        if out is None:
            say(printable(text).rstrip())
            return
        from accord.store import atomic

        place = out / "README.md"
        if place.exists() and not force:
            raise UserError("there is something at this place already", where=str(place), remedy="Add --force.")
        with atomic.disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
            atomic.write_text(place, text)
        say(f"the card is {place}: it names the run's recipe and data, so read it before you publish")


def _refuse_untrained(model: str, store: Path) -> None:
    """Raises UserError for a run, named without a step, that has no policy but the model that it starts from."""
    from accord.api.runs import open_run
    from accord.errors import UserError

    for folder in (Path(model), store / "runs" / model):
        if (folder / "plan.json").is_file():
            found = open_run(folder, store)
            if found.step(found.last("policy")).kind == "model":
                what = f"no step of the run {found.name!r} has made a policy"
                raise UserError(what, remedy=f"Finish it: `accord run`; or name what it starts from: {model}:start.")
            return


def _card_of(model: str, store: Path) -> str | None:
    """Of a model that is named as a run, or as RUN:STEP; None of others, of which nothing is recorded here."""
    from accord.api.runs import open_run
    from accord.card import card_text
    from accord.errors import UserError

    run, _, step = model.rpartition(":")
    for name, of in ((model, ""), (run, step)):
        for folder in (Path(name), store / "runs" / name):
            if name and (folder / "plan.json").is_file():
                found = open_run(folder, store)
                made = found.step(of or found.last("policy"))
                if made.kind == "model":
                    return None
                try:
                    return card_text(folder, made.name)
                except UserError as error:  # the model can be exported all the same
                    say(printable(f"no card is written: {error}"))
                    return None
    return None


def _trained(store: Path) -> list[tuple[str, ...]]:
    """The policies and reward models of every run, by the path of the run's link to each."""
    from accord.api.runs import open_run
    from accord.steps.registry import STEPS

    rows: list[tuple[str, ...]] = []
    for plan in sorted((store / "runs").glob("*/plan.json")):
        for name, step in open_run(plan.parent, store).steps.items():
            link = plan.parent / "steps" / name / "model"
            if STEPS[step.kind].produces in ("policy", "reward") and (link / "config.json").is_file():
                made = "policy" if STEPS[step.kind].produces == "policy" else "reward model"
                rows.append((str(link), f"{made}, by {step.kind}", _size(_num_bytes(link))))
    return rows


def _num_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def _table(rows: list[tuple[str, ...]]) -> None:
    rows = [tuple(printable(cell).replace("\n", " ") for cell in row) for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))] if rows else []
    for row in rows:
        say("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        say("  none")

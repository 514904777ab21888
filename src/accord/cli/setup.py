"""init, doctor: a first recipe, and whether everything is in place."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accord.cli.common import DEFAULT_STORE, JsonOption, StoreOption, say, shipped_recipe, user_errors

if TYPE_CHECKING:
    from accord.doctor import Finding

DEFAULT_MODEL = "smollm2-135m-instruct"


def init(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The recipe to write.")] = Path("recipe.yaml"),
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="What to start from.")] = "",
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="A file, a folder, hub:OWNER/NAME.")] = "",
    task: Annotated[str, typer.Option("--task", help="sft, reward, rejection, ppo, or full: all of them.")] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="A column that Accord knows, and the file's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; take the defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a first recipe for your data, with a comment at every key."""
    with user_errors():
        from accord.cli.readings import read_options
        from accord.data.formats.readers import read_source
        from accord.data.sources import is_builtin
        from accord.errors import UserError
        from accord.starter import facts_of, recipe_text, task_named
        from accord.store import atomic

        if out.exists() and not force:
            raise UserError("this file is there already", where=str(out), remedy="Name another, or use --force.")
        asking = not yes and sys.stdin.isatty()
        data = data or (typer.prompt("Your data: a file, a folder, or hub:OWNER/NAME") if asking else "")
        if not data:
            raise UserError("no data is named", where="--data", remedy="Give a file, a folder, or hub:OWNER/NAME.")
        if is_builtin(data):
            if given := [name for name, value in (("model", model), ("task", task), ("column", columns)) if value]:
                what = "the recipe for the built-in data is the demo's, which has a model and steps of its own"
                raise UserError(
                    what, where=f"--{given[0]}", remedy=f"Leave out --{given[0]}, and edit what is written."
                )
            text = shipped_recipe("quickstart").read_text(encoding="utf-8")
            note = "the recipe of the demo, which is for this data"
        else:
            options = read_options("auto", "auto", columns)
            facts = facts_of(data, read_source(data, options), options.columns)
            note = f"{data} holds {facts.num_records:,} {facts.kind}"
            if asking:
                say(f"{note}.")
            model = model or (typer.prompt("The model to start from", default=DEFAULT_MODEL) if asking else "")
            best = "full" if facts.kind == "comparisons" else "sft"
            task = task or (
                typer.prompt("What to do: sft, reward, rejection, ppo or full", default=best) if asking else ""
            )
            text = recipe_text(model or DEFAULT_MODEL, facts, task_named(task or best))
        _validate(text, out)
        with atomic.disk_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            atomic.write_text(out, text)
        say(f"{out}: {note}")
        say(f"Next: accord check {out}, then accord run {out}")


def doctor(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Look whether everything that Accord needs is here. Status 1 when something is not."""
    with user_errors():
        from accord.doctor import examine

        findings = examine(store)
        if as_json:
            say(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for line in _doctor_lines(findings):
                say(line)
        if any(finding.level == "problem" for finding in findings):
            raise typer.Exit(1)


def _validate(text: str, out: Path) -> None:
    """That it gives a plan, before it is written."""
    from accord.plan import make_plan
    from accord.recipe import parse_recipe
    from accord.steps.registry import STEPS

    make_plan(parse_recipe(text, out), STEPS)


def _doctor_lines(findings: list[Finding]) -> list[str]:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:7}  {finding.name:{width}}  {finding.value}")
        if finding.remedy:
            lines.append(f"{'':7}  {'':{width}}  {finding.remedy}")
    counts = {level: sum(finding.level == level for finding in findings) for level in ("problem", "warn")}
    lines.append(
        f"{counts['problem']} problem{'s' * (counts['problem'] != 1)}, "
        f"{counts['warn']} warning{'s' * (counts['warn'] != 1)}"
    )
    return lines

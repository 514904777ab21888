"""accord data check, preview, convert: a user's data before anybody trains on it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from accord.cli.common import say, user_errors
from accord.cli.readings import files_read, is_recipe, read_options, read_recipe, read_sources
from accord.errors import UserError

if TYPE_CHECKING:
    from accord.data.audit.check import Model
    from accord.text.template import Template

app = typer.Typer(help="Look at data: what is wrong with it, and what a model is given of it.", no_args_is_help=True)

SOURCE_HELP = "A file, a folder of files, hub:OWNER/NAME or builtin:NAME."
FormatOption = Annotated[str, typer.Option("--format", help="auto, columns, dialogue, argilla or label-studio.")]
KindOption = Annotated[
    str, typer.Option("--kind", help="auto, demonstrations, comparisons, labelled, prompts, texts or ratings.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="OURS=THEIRS",
        help="A column that Accord knows, and the file's; several with commas: prompt=instruction,input.",
    ),
]
HtmlOption = Annotated[Path | None, typer.Option("--html", metavar="OUT", help="Write a page.")]


@app.command()
def check(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help=f"{SOURCE_HELP} Or a recipe: then all of its data.")
    ],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Count the tokens of this model.")] = "",
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=2, help="What prompt and response may take; with a model.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", metavar="FILE", help="Texts that will be tested on.")
    ] = None,
    form: FormatOption = "auto",
    kind: KindOption = "auto",
    columns: ColumnOption = None,
    personal: Annotated[
        Literal["patterns", "presidio"], typer.Option("--personal", help="What finds personal data.")
    ] = "patterns",
    toxicity: Annotated[
        Path | None,
        typer.Option("--toxicity", metavar="FILE", help="Your word list: one word a line, stem* for stems."),
    ] = None,
    scrub: Annotated[
        Path | None, typer.Option("--scrub", metavar="OUT", help="Write a copy with <EMAIL> and the like.")
    ] = None,
    drop_toxic: Annotated[
        Path | None, typer.Option("--drop-toxic", metavar="OUT", help="Write a copy without the toxic rows.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", metavar="OUT", help="Write everything as JSON.")] = None,
    html: HtmlOption = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show every finding, not 20 of each code.")] = False,
) -> None:
    """Find everything that is wrong with data, in one pass. The status is 1 when anything is, else 0."""
    with user_errors():
        from accord.data.audit.check import check_data
        from accord.data.audit.copies import copy_rows
        from accord.data.audit.evaluation import evaluation_texts
        from accord.data.audit.personal import find_personal, presidio_finder, scrub_values
        from accord.data.audit.shares import is_toxic, toxicity_list
        from accord.monitor.data_text import as_json, check_lines, copied_line

        for out in (scrub, drop_toxic):
            _refuse_to_overwrite(out)
            if out and (len(sources) > 1 or is_recipe(sources)):
                raise UserError("a copy is written of one source", where=str(out), remedy="Give one source.")
        find = presidio_finder() if personal == "presidio" else find_personal
        toxic = toxicity_list(toxicity)
        options = read_options(form, kind, columns)
        template, name, recipe = None, model, None
        if is_recipe(sources):
            if options != read_options("auto", "auto", None):
                what = "a recipe says itself how its data is read"
                raise UserError(what, where=sources[0], remedy="Write format, kind and columns into its `data`.")
            recipe, readings = read_recipe(Path(sources[0]))
            name = model or recipe.model
            template = _template(name, None if model else dict(recipe.model_options))
        else:
            readings = read_sources(sources, options)
            template = _template(model) if model else None
        if max_tokens is not None and template is None:
            raise UserError("--max-tokens counts the tokens of a model", remedy="Name it with --model.")
        inputs = [*files_read(sources, recipe), *files_read(against or []), *filter(None, [toxicity])]
        for out in (json_out, html):
            _refuse_input(out, inputs)
        for out in (json_out, html, scrub, drop_toxic):
            _check_folder(out)
        result = check_data(
            readings,
            model=_model(template, name) if template else None,
            max_tokens=max_tokens,
            evaluation=evaluation_texts(against or []),
            find=find,
            toxic=toxic,
        )
        for line in check_lines(result, show_all=show_all):
            say(line)
        if json_out:
            _write(json_out, json.dumps(as_json(result), indent=2, ensure_ascii=True, allow_nan=False) + "\n")
        if html:
            from accord.monitor.data_report import check_page

            _write(html, check_page(result))
        if scrub:
            copied = copy_rows(sources[0], options, scrub, lambda values: scrub_values(values, find))
            say(f"wrote {scrub}: {copied_line(copied)}")
        if drop_toxic:
            copied = copy_rows(
                sources[0], options, drop_toxic, lambda values: None if is_toxic(values, toxic) else values
            )
            say(f"wrote {drop_toxic}: {copied_line(copied)}")
        raise typer.Exit(1 if result.num_defects else 0)


@app.command()
def preview(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="Whose tokens: a name, a folder or a hub id.")],
    num: Annotated[int, typer.Option("--num", min=1, help="How many records.")] = 3,
    form: FormatOption = "auto",
    kind: KindOption = "auto",
    columns: ColumnOption = None,
    html: HtmlOption = None,
) -> None:
    """Show the first records as a model is given them: every token, and which of them are trained on."""
    with user_errors():
        from accord.monitor.preview import preview_lines, previews

        readings = read_sources([source], read_options(form, kind, columns))
        _refuse_input(html, files_read([source]))
        _check_folder(html)
        template = _template(model)
        shown = [one for reading in readings.values() for one in previews(template, reading, num)]
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        for one in shown:
            for line in preview_lines(one, colour=colour):
                say(line)
            say("")
        if not colour:
            say("What is trained on stands between [[ and ]].")
        if html:
            from accord.monitor.data_report import preview_page

            _write(html, preview_page(shown, source, model))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .jsonl, .csv or .parquet file; also .jsonl.gz.")],
    to: Annotated[
        Literal["trl", "accord"], typer.Option("--form", help="TRL's columns, or Accord's own, which keep everything.")
    ] = "trl",
    form: FormatOption = "auto",
    kind: KindOption = "auto",
    columns: ColumnOption = None,
) -> None:
    """Write data in another form. Rows that cannot be used are left out, and listed."""
    with user_errors():
        from accord.data.formats.readers import read_source
        from accord.data.writers import write_source
        from accord.monitor.data_text import left_out_lines

        _refuse_to_overwrite(out)
        _check_folder(out)
        reading = read_source(source, read_options(form, kind, columns))
        written = write_source(out, reading.kind, reading.records, form=to)
        for line in left_out_lines(reading):
            say(line)
        ties = f" ({written.num_ties:,} {reading.kind} without an order were left out)" if written.num_ties else ""
        say(f"{written.num_rows:,} rows are in {out}{ties}")


def _template(model: str, options: dict[str, Any] | None = None) -> Template:
    from accord.models.catalog import load_template

    return load_template(model, options)


def _model(template: Template, name: str) -> Model:
    from accord.data.audit.check import Model

    added = template.tokenizer.added_tokens_decoder.values()
    return Model(name, template, [token.content for token in added if token.special])


def _refuse_to_overwrite(out: Path | None) -> None:
    if out is not None and out.exists():
        raise UserError("there is a file already", where=str(out), remedy="Name another one, or remove it.")


def _refuse_input(out: Path | None, inputs: Iterable[Path]) -> None:
    """A report replaces an earlier one, and nothing that was read for it."""
    if out is not None and out.exists() and any(out.samefile(path) for path in inputs):
        raise UserError("this file is read here, so nothing is written to it", where=str(out), remedy="Name another.")


def _check_folder(out: Path | None) -> None:
    """Before the work, that what it makes has a place."""
    if out is not None and not out.parent.is_dir():
        raise UserError(
            "there is no such folder to write to", where=str(out.parent), remedy="Make it, or name another."
        )
    if out is not None and out.is_dir():
        raise UserError("this is a folder, and a file is written", where=str(out), remedy="Name a file in it.")


def _write(out: Path, text: str) -> None:
    from accord.data.writers import write_file

    write_file(out, text.encode("utf-8", errors="backslashreplace"))
    say(f"wrote {out}")

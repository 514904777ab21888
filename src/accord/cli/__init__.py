"""The command `accord`. Thin: it reads the arguments, calls, and prints errors. Heavy imports wait for a command."""

from __future__ import annotations

from typing import Annotated

import typer

from accord.cli import (
    chat,
    cluster,
    data,
    evaluate,
    evaluate_benchmark,
    evaluate_judge,
    evaluate_safety,
    label_accuracy,
    labels,
    models,
    runs,
    serve,
    setup,
    status,
    sweep,
    web,
)
from accord.cli.common import shipped_recipe

__all__ = ["app", "shipped_recipe"]

app = typer.Typer(
    help="Align language models to human preference.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


for command in (
    *(setup.init, runs.check, runs.run, sweep.sweep, status.status, runs.report, runs.cost, runs.demo, runs.fetch),
    *(models.models, models.export, models.card, chat.chat, serve.serve, web.web, setup.doctor),
):
    app.command()(command)
app.add_typer(cluster.app, name="cluster")
app.add_typer(data.app, name="data")
labels.app.command()(label_accuracy.accuracy)
evaluate.app.command()(evaluate_safety.safety)
evaluate.app.command()(evaluate_judge.judge)
evaluate.app.command()(evaluate_benchmark.benchmark)
app.add_typer(evaluate.app, name="eval")
app.add_typer(labels.app, name="labels")

"""web: people in the loop."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, say, user_errors

DEMO_MODEL = "smollm2-135m-instruct"


def web(
    store: StoreOption = DEFAULT_STORE,
    host: Annotated[str, typer.Option("--host", help="Where to listen; other machines reach 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")] = 8500,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="A name by which others ask for it.")
    ] = None,
    https: Annotated[bool, typer.Option("--https", help="Something before it speaks https.")] = False,
    policies: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="MODEL", help="One that people can talk to, as `accord serve` names it."),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Made-up items, gone afterwards, and the built-in model to write to."),
    ] = False,
) -> None:
    """Open the pages on which people compare responses, and owners watch runs, on this machine."""
    with user_errors():
        from accord.labels.migrate import labels_of_store, open_labels
        from accord.ports import refuse_unnamed
        from accord.store.artifacts import Store
        from accord.web.demo import fill
        from accord.web.policies import Talking, served, served_soon
        from accord.web.serving import serve

        refuse_unnamed(host, names or [])
        with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
            database = open_labels(Path(folder) / "labels.db") if demo else labels_of_store(store)
            opened.callback(database.close)
            talking: Talking | None = None
            if demo:
                talking = opened.enter_context(served_soon(policies or [DEMO_MODEL], str(store), say))
                fill(database)
            elif policies:
                talking = opened.enter_context(served(policies, str(store)))
            serve(
                database,
                host=host,
                port=port,
                names=names or [],
                https=https,
                policies=talking,
                say=say,
                store=Store(store),
            )

"""serve: policies over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, say, user_errors
from accord.errors import UserError

_MODEL = "A run, RUN:STEP, a folder, a built-in model's name, a .gguf file or a hub id; NAME=MODEL to call it NAME."


def serve(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=_MODEL)],
    host: Annotated[str, typer.Option("--host", help="Where to listen; other machines reach 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")] = 8600,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="A name by which others ask for it.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Serve policies to OpenAI's clients: chat completions, also as streams."""
    with user_errors():
        from accord.api.models import load_policy
        from accord.ports import refuse_unnamed
        from accord.serve.serving import serve as run

        refuse_unnamed(host, names or [])
        called = [_named(model) for model in models]
        twice = [name for i, (name, _) in enumerate(called) if name in [other for other, _ in called[:i]]]
        if twice:
            remedy = f"Call one of them otherwise: other={dict(called)[twice[0]]}."
            raise UserError(f"two models are called {twice[0]!r}", remedy=remedy)
        policies = {name: load_policy(source, store=store).engine for name, source in called}
        run(policies, host=host, port=port, names=names or [], say=say)


def _named(model: str) -> tuple[str, str]:
    """The name that clients use, and the source."""
    name, equals, source = model.partition("=")
    return (name, source) if equals and name and source else (model, model)

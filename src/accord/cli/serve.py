"""serve: policies and rewards over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, say, user_errors
from accord.errors import UserError

_MODEL = (
    "A policy or a reward: a run, RUN:STEP, a folder, a built-in model's name, a .gguf file, a hub id, or "
    "FILE.py:FUNCTION; NAME=MODEL to call it NAME."
)
_REWARD = "A reward to score with at /v1/score, and to choose by; NAME=REWARD to call it NAME. May be repeated."
_ENGINE = "What writes: torch, or vLLM, which is installed apart (make install-vllm) and serves one policy."
_BEST_OF = "Every answer in a chat is the best of N by the reward."


def serve(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=_MODEL)],
    rewards: Annotated[list[str] | None, typer.Option("--reward", metavar="REWARD", help=_REWARD)] = None,
    best_of: Annotated[int, typer.Option("--best-of", metavar="N", min=1, help=_BEST_OF)] = 1,
    engine: Annotated[Literal["torch", "vllm"], typer.Option("--engine", help=_ENGINE)] = "torch",
    host: Annotated[str, typer.Option("--host", help="Where to listen; other machines reach 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")] = 8600,
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="NAME", help="A name by which others ask for it.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Serve policies and rewards to OpenAI's clients: chat completions, completions, log-probabilities, scores.

    The environment variable ACCORD_API_KEY, if it is set, is the key that clients have to send.
    """
    with user_errors(goes_on=False):
        from accord.api.named import check_policy, check_reward, is_function
        from accord.ports import refuse_unnamed

        refuse_unnamed(host, names or [])
        given, scoring = [_named(model) for model in models], [_named(reward) for reward in rewards or []]
        _refuse_twice([*given, *scoring])
        for _, source in given:
            (check_reward if is_function(source) else check_policy)(source, store)
        for _, source in scoring:
            check_reward(source, store)

        from accord.api.models import load_reward
        from accord.api.sources import is_reward
        from accord.serve.serving import check_best_of, check_engine, open_policy
        from accord.serve.serving import serve as run

        writing = [one for one in given if not is_reward(one[1], store)]
        scoring += [one for one in given if one not in writing]
        check_best_of(best_of, len(writing), len(scoring))
        check_engine(engine, len(writing))
        run(
            {name: open_policy(source, store, engine) for name, source in writing},
            {name: load_reward(source, store=store) for name, source in scoring},
            best_of=best_of,
            host=host,
            port=port,
            names=names or [],
            say=say,
        )


def _named(model: str) -> tuple[str, str]:
    """The name that clients use, and the source."""
    name, equals, source = model.partition("=")
    return (name, source) if equals and name and source else (model, model)


def _refuse_twice(called: Sequence[tuple[str, str]]) -> None:
    """Raises UserError."""
    names = [name for name, _ in called]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        remedy = f"Call one of them otherwise: other={dict(called)[twice]}."
        raise UserError(f"two models are called {twice!r}", remedy=remedy)

"""chat: talk to one policy, or to two side by side, here or behind a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, user_errors
from accord.errors import UserError

if TYPE_CHECKING:
    from accord.api.models import Reward
    from accord.chat.conversation import Model

_MODEL = (
    "A run, RUN:STEP, a folder, a built-in model's name, a .gguf file or a hub id; or a server's address, such as "
    "http://127.0.0.1:8600/v1."
)
_REMOTE = "Which of the server's models. Twice: two of them side by side."


def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    other: Annotated[str | None, typer.Argument(metavar="[MODEL2]", help="A second one that answers, too.")] = None,
    remote: Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help=_REMOTE)] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="Answer this, and leave.")] = None,
    system: Annotated[str, typer.Option("--system", metavar="TEXT", help="A system message.")] = "",
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0: the most probable token.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn.")] = 0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Of an answer.")] = 512,
    reward: Annotated[
        str | None,
        typer.Option(
            "--reward", metavar="REWARD", help="Score answers: a run, RUN:STEP, a folder or FILE.py:FUNCTION."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Talk to a policy in the terminal, or to two side by side: in this process, or over HTTP. /help says what else can
    be typed. A server that wants a key gets that of the environment variable ACCORD_API_KEY."""
    with user_errors():
        _check([model] if other is None else [model, other], reward, store)

        import shutil

        from accord.chat.conversation import Conversation
        from accord.chat.session import Session
        from accord.types import Prompt, Response

        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text that a terminal cannot show
        scorer = _reward(reward, store) if reward is not None else None
        names, policies = _models([model] if other is None else [model, other], remote or [], store)

        def score(prompt: Prompt, text: str, finished: bool) -> float:
            assert scorer is not None
            return scorer.score([prompt], [[Response(text, finished)]])[0][0]

        def write(text: str) -> None:
            sys.stdout.write(text)
            sys.stdout.flush()

        session = Session(
            Conversation(names, policies, system, temperature, seed, max_tokens),
            write,
            shutil.get_terminal_size().columns if sys.stdout.isatty() else 0,
            score if scorer is not None else None,
        )
        if prompt is not None:
            if not session.turn(prompt):
                raise typer.Exit(130)
            return
        if sys.stdin.isatty():
            import readline  # noqa: F401  a line can be edited, and earlier ones called back

            write("/help says what can be typed; Ctrl-D leaves\n")
        session.run(_read)


def _check(models: list[str], reward: str | None, store: Path) -> None:
    """Raises UserError for what names nothing."""
    from accord.api.named import check_policy, check_reward
    from accord.chat.remote import is_address

    for model in models:
        if not is_address(model):
            check_policy(model, store)
    if reward is not None:
        check_reward(reward, store)


def _reward(source: str, store: Path) -> Reward:
    from accord.api.models import load_reward

    return load_reward(source, store=store)


def _models(sources: list[str], remote: list[str], store: Path) -> tuple[list[str], list[Model]]:
    """Who answers, and the names by which they are shown. remote: names of models for the sources that are addresses,
    in turn; two names for one address are two models."""
    from accord.chat.remote import RemotePolicy, is_address

    if len(sources) == 1 and len(remote) == 2:
        sources = sources * 2
    left = list(remote)
    names: list[str] = []
    models: list[Model] = []
    for source in sources:
        if is_address(source):
            policy = RemotePolicy.at(source, left.pop(0) if left else None)
            names.append(policy.name)
            models.append(policy)
        else:
            from accord.api.models import load_policy

            names.append(source)
            models.append(load_policy(source, store=store))
    if left:
        what = f"--model {left[0]} is of no server"
        raise UserError(what, remedy="Name the server's address as MODEL, such as http://127.0.0.1:8600/v1.")
    return names, models


def _read() -> str:
    """A line of the person's; halves of characters, which a terminal may give, become question marks."""
    return input("> " if sys.stdin.isatty() else "").encode(errors="replace").decode()

"""chat: talk to one policy, or to two side by side."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from accord.cli.common import DEFAULT_STORE, StoreOption, user_errors

_MODEL = "A run, RUN:STEP, a folder, a built-in model's name, a .gguf file or a hub id."


def chat(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)],
    other: Annotated[str | None, typer.Argument(metavar="[MODEL2]", help="A second one that answers, too.")] = None,
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
    """Talk to a policy in the terminal, or to two side by side. /help says what else can be typed."""
    with user_errors():
        import shutil

        from accord.api.models import load_policy, load_reward
        from accord.chat.conversation import Conversation
        from accord.chat.session import Session
        from accord.types import Prompt, Response

        names = [model] if other is None else [model, other]
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # text that a terminal cannot show
        scorer = load_reward(reward, store=store) if reward is not None else None
        policies = [load_policy(name, store=store) for name in names]

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


def _read() -> str:
    """A line of the person's; halves of characters, which a terminal may give, become question marks."""
    return input("> " if sys.stdin.isatty() else "").encode(errors="replace").decode()

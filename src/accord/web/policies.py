"""The policies that people talk to: names behind an OpenAI-compatible endpoint, asked over HTTP and nothing else."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from accord.errors import UserError
from accord.rewards.chat_json import ask_chat
from accord.rewards.http_json import Server
from accord.types import Message

TEMPERATURES = (0.7, 1.0, 1.3)
MOST_TOKENS = 400
FEW_TOKENS = 100
TIMEOUT = 120.0  # seconds for one answer


@dataclass(frozen=True, slots=True)
class Written:
    """A response. by: the policy and its temperature."""

    text: str
    by: str


class Talking(Protocol):
    """Whom people can talk to."""

    def answers(self, messages: Sequence[Message], num: int = 2) -> list[Written]: ...


@dataclass(frozen=True, slots=True)
class Policies:
    """endpoint: up to and with /v1. names: of models there, at least one. most_tokens: of an answer."""

    endpoint: str
    names: tuple[str, ...]
    most_tokens: int = MOST_TOKENS

    def answers(self, messages: Sequence[Message], num: int = 2) -> list[Written]:
        """Two, by two policies where there are two, at temperatures of their own; or one. Who writes what is
        drawn anew.

        Raises UserError when the endpoint does not answer.
        """
        draws = secrets.SystemRandom()  # what could be computed from the key would not be blind
        names = draws.sample(self.names, num) if len(self.names) >= num else [self.names[0]] * num
        temperatures = draws.sample(TEMPERATURES, num)
        seeds = [draws.getrandbits(62) for _ in range(num)]
        with ThreadPoolExecutor(num) as pool:  # at once: the endpoint writes them together
            return list(pool.map(self._answer, [messages] * num, names, temperatures, seeds))

    def likeliest(self, name: str, messages: Sequence[Message]) -> str:
        """What one of them answers at temperature 0: always the same.

        Raises UserError when the endpoint does not answer; of these, Declined when this is because of the messages.
        """
        return self._answer(messages, name, temperature=0.0, seed=0).text

    def _answer(self, messages: Sequence[Message], name: str, temperature: float, seed: int) -> Written:
        server = Server(f"{self.endpoint}/chat/completions", timeout=TIMEOUT, retries=1)
        asked = {
            "model": name,
            "messages": [{"role": one.role, "content": one.content} for one in messages],
            "temperature": temperature,
            "max_tokens": self.most_tokens,
            "seed": seed,
        }
        text = _text_of(ask_chat(server, asked))
        if text is None:
            raise server.wrong("answered with what is no chat completion")
        return Written(text, f"{name} at {temperature:g}")


def _text_of(answer: Any) -> str | None:
    try:
        text = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return None
    return text if isinstance(text, str) else None


class Opening:
    """Policies of a child that has been started: they answer once it does."""

    def __init__(self, child: subprocess.Popen[str], say: Callable[[str], None]) -> None:
        self._say = say
        self._opened: Future[Policies] = Future()
        threading.Thread(target=self._wait, args=(child,), daemon=True).start()

    def answers(self, messages: Sequence[Message], num: int = 2) -> list[Written]:
        """Raises UserError, too, as long as nobody is there."""
        if not self._opened.done():
            raise UserError("the model is still being opened, or fetched: try again in a minute")
        return self._opened.result().answers(messages, num)

    def _wait(self, child: subprocess.Popen[str]) -> None:
        try:
            opened = replace(_announced(child), most_tokens=FEW_TOKENS)
            self._say(f"people can write to {', '.join(opened.names)} now")
            self._opened.set_result(opened)
        except UserError as error:
            self._opened.set_exception(error)


@contextmanager
def served(sources: Sequence[str], store: str) -> Iterator[Policies]:
    """Policies served by a child, on a free port of the loopback, until this is over. Raises UserError."""
    with _child(sources, store) as child:
        yield _announced(child)


@contextmanager
def served_soon(sources: Sequence[str], store: str, say: Callable[[str], None]) -> Iterator[Opening]:
    """As `served`, without waiting for it, and with short answers: for trying the pages. say: prints a line, once they
    answer."""
    with _child(sources, store) as child:
        yield Opening(child, say)


@contextmanager
def _child(sources: Sequence[str], store: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-c", "from accord.cli import app; app()", "serve", *sources, "--port", "0"]
    # A key is of a server's clients: this child is asked by this process alone.
    env = {name: value for name, value in os.environ.items() if name != "ACCORD_API_KEY"}
    with subprocess.Popen([*command, "--store", store], stdout=subprocess.PIPE, text=True, env=env) as child:
        try:
            yield child
        finally:
            child.terminate()


def _announced(child: subprocess.Popen[str]) -> Policies:
    """What `accord serve` prints once it answers. Raises UserError when it ends before."""
    assert child.stdout is not None
    names: tuple[str, ...] = ()
    for line in child.stdout:
        if line.startswith("models: "):
            names = tuple(line.removeprefix("models: ").strip().split(", "))
        if line.startswith("serving "):
            return Policies(line.split()[1].rstrip(";"), names)
    raise UserError("the policies are not served", remedy="What `accord serve` said stands above.")

"""A policy behind an OpenAI-compatible server, asked over HTTP and nothing else. What it says is a stranger's text."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from accord.errors import UserError, did_you_mean
from accord.printable import printable
from accord.rewards.chat_json import LIMIT, refuses, with_newer_limit
from accord.rewards.http_json import check_url, opener, reason_in
from accord.types import Prompt

TIMEOUT = 120.0  # seconds for a piece of an answer
KEY = "ACCORD_API_KEY"  # the environment variable with the key, if the server wants one
_MOST_BYTES = 1 << 20  # of an event, and of what is not streamed
_SHOWN = 200  # characters of a server's message


def is_address(source: str) -> bool:
    """Whether a model is named by a server's address.

    >>> is_address("http://127.0.0.1:8600/v1"), is_address("quickstart:sft")
    (True, False)
    """
    return source.startswith(("http://", "https://"))


class RemotePolicy:
    """One of the policies of a server. context: how many tokens it can read and write, if the server counts tokens."""

    def __init__(self, endpoint: _Endpoint, name: str, context: int | None) -> None:
        self._endpoint, self.name, self.context = endpoint, name, context
        self._wants_newer = False  # it refuses `max_tokens`

    @classmethod
    def at(cls, url: str, name: str | None = None) -> RemotePolicy:
        """url: up to and with /v1. name: of the policy; None where there is only one. Raises UserError."""
        endpoint = _Endpoint(url)
        rows = endpoint.models()
        names = [str(row["id"]) for row in rows]
        if name is None and len(names) != 1:
            what = f"the server has {len(names)} models: {', '.join(names)}" if names else "the server has no model"
            raise UserError(what, where=url, remedy="Name one with --model." if names else "")
        if name is not None and name not in names:
            raise UserError(f"the server has no model {name!r}", where=url, remedy=did_you_mean(name, names))
        row = rows[0] if name is None else rows[names.index(name)]
        context = row.get("max_model_len")
        policy = cls(endpoint, str(row["id"]), context if isinstance(context, int) and context > 0 else None)
        if policy.context is not None and endpoint.num_tokens(policy.name, [_HELLO]) is None:
            policy.context = None
        return policy

    def num_tokens(self, prompt: Prompt, /) -> int:
        """As the server counts them."""
        return self._endpoint.num_tokens(self.name, _messages(prompt)) or 0

    def stream(self, prompt: Prompt, /, *, max_response_tokens: int, temperature: float, seed: int) -> RemoteAnswer:
        """Raises UserError when the server does not answer."""
        asked = {
            "model": self.name,
            "messages": _messages(prompt),
            LIMIT: max_response_tokens,
            "temperature": temperature,
            "seed": seed,
            "stream": True,
        }
        if not self._wants_newer:
            try:
                return RemoteAnswer(self._endpoint.events("/chat/completions", asked))
            except UserError as error:
                if not refuses(error.what, LIMIT):
                    raise
        answer = RemoteAnswer(self._endpoint.events("/chat/completions", with_newer_limit(asked)))
        self._wants_newer = True
        return answer


class RemoteAnswer:
    """As `Stream` of the API is: pieces, then all of the text, and whether it ended its turn."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self.text, self.finished = "", False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for event in self._events:
            piece, finish = _piece(event)
            self.finished = self.finished or finish == "stop"
            if piece:
                self.text += piece
                return piece
        raise StopIteration


class _Endpoint:
    def __init__(self, url: str) -> None:
        try:
            check_url(url)
        except ValueError as error:
            raise UserError(str(error), where=url, remedy="Write http://HOST:PORT/v1.") from error
        self._url = url.rstrip("/")

    def models(self) -> list[dict[str, Any]]:
        """That write. Raises UserError."""
        with self._opened("/models") as response:
            found = self._parsed(response.read(_MOST_BYTES))
        rows = found.get("data") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("id") for row in rows):
            raise self._wrong("is none that lists its models as OpenAI's does", self._hint())
        return [row for row in rows if row.get("kind") != "reward"]

    def num_tokens(self, model: str, messages: Sequence[dict[str, str]]) -> int | None:
        """None where the server does not say."""
        root = self._url.removesuffix("/v1")
        try:
            with self._opened("/tokenize", {"model": model, "messages": messages}, root) as response:
                found = self._parsed(response.read(_MOST_BYTES))
        except UserError:
            return None
        count = found.get("count") if isinstance(found, dict) else None
        return count if isinstance(count, int) else None

    def events(self, path: str, content: Any) -> Iterator[Any]:
        """Server-sent events up to [DONE]. The first error is raised here, and not later."""
        response = self._opened(path, content)

        def read() -> Iterator[Any]:
            with response:
                while line := self._line(response):
                    data = line.removeprefix(b"data:").strip()
                    if not line.startswith(b"data:"):
                        continue
                    if data == b"[DONE]":
                        return
                    event = self._parsed(data)
                    if isinstance(event, dict) and "error" in event:
                        raise self._wrong(f"stopped: {_said(data.decode(errors='replace'))}")
                    yield event
                raise self._wrong("broke off its answer")

        return read()

    def _line(self, response: http.client.HTTPResponse) -> bytes:
        try:
            line = response.readline(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise self._wrong(f"broke off its answer ({printable(str(error)) or type(error).__name__})") from error
        return line

    def _opened(self, path: str, content: Any = None, root: str | None = None) -> http.client.HTTPResponse:
        url = f"{self._url if root is None else root}{path}"
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        body = None if content is None else json.dumps(content).encode()
        try:
            response = opener(url).open(urllib.request.Request(url, body, headers), timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                said = _said(error.read(_MOST_BYTES).decode(errors="replace"))
            remedy = f"Set {KEY} to the server's key." if error.code == 401 else ""
            if error.code in (404, 405):
                remedy = self._hint()
            raise self._wrong(f"answered {error.code}: {said}", remedy) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = printable(str(getattr(error, "reason", error)))
            raise self._wrong(
                f"cannot be reached ({reason})", "See that it runs, and that the address is right."
            ) from None
        assert isinstance(response, http.client.HTTPResponse)
        return response

    def _parsed(self, body: bytes) -> Any:
        found = _json(body)
        if found is None:
            raise self._wrong("answered with what is not JSON", self._hint())
        return found

    def _hint(self) -> str:
        """What may be wrong with the address of a server that answers, and with something else."""
        if urlsplit(self._url).path:
            return ""
        return f"An OpenAI-compatible API mostly begins at /v1: try {self._url}/v1."

    def _wrong(self, what: str, remedy: str = "") -> UserError:
        return UserError(f"the server {what}", where=self._url, remedy=remedy)


_HELLO = {"role": "user", "content": "Hello."}


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": one.role, "content": one.content} for one in prompt.messages]


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(answer: str) -> str:
    """The message of an error in OpenAI's shape, cut short."""
    text = " ".join(printable(reason_in(answer) or "no reason was given").split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _piece(event: Any) -> tuple[str, str | None]:
    """What an event adds to the first choice's text, and how that ended."""
    try:
        choice = event["choices"][0]
        text = choice["delta"].get("content")
        return (text if isinstance(text, str) else ""), choice.get("finish_reason")
    except (LookupError, TypeError, AttributeError):
        return "", None

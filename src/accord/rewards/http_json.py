"""JSON to an HTTP server and back, with a limit on all that could last: for rewards that are computed elsewhere.

http and https alone, no redirect is followed, and the answer is a stranger's text. A key is known by the name of the
environment variable that holds it; its value stands in no file and no message. Proxies are those of the environment.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from accord.errors import UserError
from accord.printable import printable

MOST_BYTES = 8 << 20  # of an answer
MOST_WAIT = 60.0  # seconds between two attempts
_AGAIN = (408, 425, 429, *range(500, 600))  # statuses that may be better next time
_DECLINED = (400, 413, 422)
_READ = 2000  # bytes of an answer that is only shown
_SHOWN = 200  # characters of it in a message


class Declined(UserError):
    """The server works, and does not take what it was sent."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask. timeout: seconds for one answer. retries: further attempts after one that failed for reasons that
    may pass. key_env: the environment variable with the key; key_header: what it is sent as, `Bearer KEY` in
    Authorization, else bare."""

    url: str
    timeout: float = 30.0
    retries: int = 4
    key_env: str | None = None
    key_header: str = "Authorization"

    @property
    def place(self) -> str:
        """The URL for messages: what stands behind a ? may be secret."""
        return self.url.partition("?")[0]

    def ask(self, content: Any, stop: Event | None = None) -> Any:
        """What the server answers to some JSON. Raises UserError. stop: once it is set there are no more attempts."""
        stop = stop or Event()
        headers = self._headers()
        request = urllib.request.Request(
            self.url, json.dumps(content, allow_nan=False).encode(), {"Content-Type": "application/json", **headers}
        )
        for attempt in range(self.retries + 1):
            try:
                body = self._answer(request)
            except _Failed as failed:
                if failed.again and attempt < self.retries and not stop.wait(_pause(attempt, failed.wait)):
                    continue
                tries = f", {attempt + 1} times" if attempt else ""
                kind = Declined if failed.declined else UserError
                raise self.wrong(failed.what + tries, failed.remedy, kind) from None  # a cause may quote the key
            return self._parsed(body)
        raise AssertionError("the last attempt returns or raises")

    def wrong(self, what: str, remedy: str = "", kind: type[UserError] = UserError) -> UserError:
        """An error about the server."""
        return kind(f"the endpoint {what}", where=self.place, remedy=remedy or _SERVER)

    def check_key(self) -> None:
        """Raises UserError when the key is not there, or cannot be sent."""
        self._headers()

    @property
    def _key(self) -> str:
        return os.environ.get(self.key_env, "").strip() if self.key_env else ""

    def _headers(self) -> dict[str, str]:
        if self.key_env is None:
            return {}
        key = self._key
        if not key:
            what = f"the environment variable {self.key_env}, which key_env names, is not set"
            raise UserError(what, where=self.place, remedy=f"Set it: export {self.key_env}=...")
        if not (key.isascii() and key.isprintable()):  # the library would quote it in its own message
            what = f"what the environment variable {self.key_env} holds cannot be sent as a key"
            raise UserError(what, where=self.place, remedy="A key is one line of plain characters.")
        return {self.key_header: f"Bearer {key}" if self.key_header == "Authorization" else key}

    def _answer(self, request: urllib.request.Request) -> bytes:
        """The body of an answer. Raises _Failed."""
        until = time.monotonic() + self.timeout
        late = f"did not answer within {self.timeout:g} s"
        try:
            with opener(self.url).open(request, timeout=self.timeout) as response:
                body = bytearray()
                while piece := response.read1(1 << 16):
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise _Failed(f"answered with more than {MOST_BYTES >> 20} MiB")
                    if time.monotonic() > until:
                        raise _Failed(late, again=True, remedy=_SLOW)
                if response.length:  # what is left of its Content-Length
                    raise http.client.IncompleteRead(b"", response.length)
                return bytes(body)
        except urllib.error.HTTPError as error:
            with error:
                raise self._of_status(error) from error
        except TimeoutError as error:
            raise _Failed(late, again=True, remedy=_SLOW) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Failed(late, again=True, remedy=_SLOW) from error
            raise _Failed(f"cannot be reached ({self._quoted(str(error.reason))})", again=True, remedy=_RUNS) from error
        except (OSError, http.client.HTTPException) as error:
            what = f"broke off its answer ({self._quoted(str(error) or type(error).__name__)})"
            raise _Failed(what, again=True, remedy=_RUNS) from error

    def _parsed(self, body: bytes) -> Any:
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            said = self._quoted(body[:_READ].decode(errors="replace"))
            raise self.wrong(f"answered with what is not JSON: {said}") from error

    def _of_status(self, error: urllib.error.HTTPError) -> _Failed:
        if 300 <= error.code < 400:
            to = self._quoted(error.headers.get("Location") or "nowhere")
            return _Failed(f"redirects to {to}, and redirects are not followed", remedy="Give the URL that it ends at.")
        try:
            said = error.read(_READ).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            said = "nothing"
        what = f"answered {error.code} {self._plain(str(error.reason))}: {self._quoted(reason_in(said) or said)}"
        remedy = self._remedy(error.code)
        after = error.headers.get("Retry-After") or ""
        wait = float(after) if re.fullmatch(r"\d{1,6}", after) else None
        again, declined = error.code in _AGAIN, error.code in _DECLINED
        return _Failed(what, again=again, wait=wait, remedy=remedy, declined=declined)

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return f"See that the key in {self.key_env} is right." if self.key_env else _NAME_KEY
        if status == 404:
            return "See that the URL and the name of the model are right."
        return _TAKES if status in _DECLINED else ""

    def _quoted(self, text: str) -> str:
        return repr(self._plain(text))

    def _plain(self, text: str) -> str:
        """The beginning of a stranger's text, on one line, without the key that it may echo."""
        if key := self._key:
            text = text.replace(key, "***")
        shown = " ".join(printable(text).split())
        return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + "..."


class _Failed(Exception):
    """An attempt. again: another one may do better, after `wait` seconds if the server says how many. declined: it is
    because of what was sent."""

    def __init__(
        self, what: str, *, again: bool = False, wait: float | None = None, remedy: str = "", declined: bool = False
    ) -> None:
        self.what, self.again, self.wait, self.remedy, self.declined = what, again, wait, remedy, declined
        super().__init__(what)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and its key would go to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


def opener(url: str) -> urllib.request.OpenerDirector:
    """A server on this machine is not looked for through a proxy."""
    direct = [urllib.request.ProxyHandler({})] if is_local(url) else []
    return urllib.request.build_opener(_NoRedirect, *direct)


def reason_in(said: str) -> str | None:
    """The message of an error in OpenAI's shape, or one like it; None where there is none.

    >>> reason_in('{"error": {"message": "no such model", "code": 404}}'), reason_in('{"error": "busy"}')
    ('no such model', 'busy')
    """
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return None
    error = found.get("error", found) if isinstance(found, dict) else None
    reason = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    return reason if isinstance(reason, str) and reason.strip() else None


_NAME_KEY = "It wants a key: name the environment variable that holds it as key_env, on the command line --key-env."
_TAKES = "See in its message what it does not take, correct that, and run the same command again: it goes on."
_SERVER = "Correct the server, and run the same command again: it goes on."
_RUNS = "See that the server runs and that the URL is right, and run the same command again: it goes on."
_SLOW = "Raise `timeout`, lower `batch_size` or `concurrent`, and run the same command again."


def check_url(url: str) -> None:
    """Raises ValueError for what is not an http or https URL of a server, and for one with a password in it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"this is not a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("this is not an http:// or https:// URL")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a URL holds no spaces and plain characters alone: encode the others with %")
    if "@" in parts.netloc:
        raise ValueError(
            "the URL holds a name or a password: put the key into an environment variable, and name it as key_env"
        )


def is_local(url: str) -> bool:
    """Whether what is sent to the URL stays on this machine."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d+){3}", host) is not None


def _pause(attempt: int, wait: float | None) -> float:
    """Seconds before the next attempt: what the server asks for, or 1, 2, 4, ..."""
    return min(wait if wait is not None else 2.0**attempt, MOST_WAIT)

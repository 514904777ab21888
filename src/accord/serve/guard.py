"""What is looked at before a request is read: how long it is, and its key."""

from __future__ import annotations

import hmac
import os

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from accord.errors import UserError
from accord.ports import counted, is_too_long, too_long
from accord.serve.errors import Refusal, body_of

KEY = "ACCORD_API_KEY"  # the environment variable: a command line can be read by everybody on the machine
_OPEN = ("/health",)
MOST_BYTES = 16 << 20  # of a body: a harness sends many prompts at once, as token ids
_MOST_DROPPED = 4 * MOST_BYTES  # of one that is too long, so that who sends it comes to read why


def key_of_environment() -> str | None:
    """The key that clients have to send; None: any will do. Raises UserError for one that no client can send."""
    key = os.environ.get(KEY)
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        remedy = f"Set it to one word of plain characters, or unset {KEY}."
        raise UserError("this key cannot be sent: it is empty, or holds spaces or others", where=KEY, remedy=remedy)
    return key


class Limit:
    """Refuses bodies that are too long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_too_long(Headers(scope=scope), MOST_BYTES):
            await _drop(receive)
            await JSONResponse(body_of(Refusal(too_long(MOST_BYTES))), 413)(scope, receive, send)
            return
        await self._app(scope, counted(receive, MOST_BYTES), send)


async def _drop(receive: Receive) -> None:
    """Reads on to the end of a body, or as far as anybody may make it."""
    num, more = 0, True
    while more and num <= _MOST_DROPPED:
        message = await receive()
        num += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


class Key:
    """Refuses who does not send the key as `Authorization: Bearer KEY`."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._wanted = app, f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            sent = Headers(scope=scope).get("authorization", "").encode()
            if not hmac.compare_digest(sent, self._wanted):
                what = "this key is not the server's" if sent.startswith(b"Bearer ") else "no key was sent"
                refusal = Refusal(f"{what}: send it as Authorization: Bearer KEY", status=401)
                await JSONResponse(body_of(refusal), 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
                return
        await self._app(scope, receive, send)

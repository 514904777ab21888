"""Who may do what: sessions, roles, where a request comes from, and what a browser is told to refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Annotated, Any, Final, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Path, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from accord.labels import users
from accord.labels.database import Database
from accord.labels.refusals import Refused
from accord.labels.users import Role, Session, User
from accord.ports import counted, is_too_long, too_long
from accord.web.policies import Talking
from accord.web.watches import Watches

T = TypeVar("T")
COOKIE: Final = "accord_session"
_MOST_WAITING: Final = 64  # people, for policies at once

_HEADERS: Final = {  # of every answer that has not its own
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none at all, forms would come from the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class NotSignedIn(Refused):
    """A page sends such a person to sign in; JSON answers 401."""


class Forbidden(Refused):
    """Signed in, and not for this."""


@dataclass(frozen=True, slots=True)
class Site:
    """What every request is answered with. secure: it is served over https, and cookies are for https alone. policies:
    that people can talk to; waiting: threads that wait for what they write, beside those that answer everybody else;
    drawing: the one that waits for a picture. watches: the runs that owners can look at; looking: threads that read
    them; leaving: set when the server is to end, as pages that are kept up to date would keep it."""

    database: Database
    secure: bool = False
    policies: Talking | None = None
    waiting: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(_MOST_WAITING))
    drawing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    watches: Watches | None = None
    looking: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))
    leaving: threading.Event = field(default_factory=threading.Event)


def site(request: Request) -> Site:
    found: Site = request.app.state.site
    return found


async def waiting(request: Request, work: Callable[..., T], *given: Any) -> T:
    """What `work` returns, which waits for policies."""
    return await to_thread.run_sync(work, request, *given, limiter=site(request).waiting)


def session_of(request: Request) -> Session | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    database = site(request).database
    with database.reading() as connection:
        return users.session(connection, database.now(), token)


def signed_in(request: Request) -> Session:
    """Raises NotSignedIn; Forbidden for a change that no page of ours has sent."""
    session = session_of(request)
    if session is None:
        raise NotSignedIn("sign in first")
    sent = request.headers.get("X-CSRF-Token", "")
    if request.method not in ("GET", "HEAD") and not compare_digest(sent.encode(), session.csrf.encode()):
        raise Forbidden("this page is out of date: load it again")
    return session


def only(*roles: Role) -> Callable[[Session], User]:
    """A dependency: the user, of one of these roles. Raises Forbidden."""

    def check(session: Annotated[Session, Depends(signed_in)]) -> User:
        if session.user.role not in roles:
            raise Forbidden(f"this is for {' and '.join(f'{role}s' for role in roles)}")
        return session.user

    return check


Id = Annotated[int, Path(ge=1, le=2**31 - 1)]  # of a row, in an address
Signed = Annotated[Session, Depends(signed_in)]
Annotator = Annotated[User, Depends(only("annotator", "reviewer", "owner"))]
RedTeamer = Annotated[User, Depends(only("red-teamer", "reviewer", "owner"))]
Owner = Annotated[User, Depends(only("owner"))]
Watcher = Annotated[User, Depends(only("owner", "reviewer"))]


class Shield:
    """Around everything: refuses what another site's page sends and bodies that are too long, and adds the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        headers = Headers(scope=scope)
        refused = _refusal(scope, headers)
        if refused is not None:
            await refused(scope, receive, shielded)
            return
        await self._app(scope, counted(receive), shielded)


def _refusal(scope: Scope, headers: Headers) -> JSONResponse | None:
    origin = headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
    if foreign and scope["method"] not in ("GET", "HEAD"):
        return refusal(403, "another site's page sent this")
    return refusal(413, too_long()) if is_too_long(headers) else None


def refusal(status: int, why: str, **more: Any) -> JSONResponse:
    return JSONResponse({"error": why, **more}, status)

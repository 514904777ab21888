"""The application: its pages, the JSON behind them, and how it says no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from accord.errors import UserError
from accord.labels.database import Database
from accord.labels.refusals import Conflict, Missing, Refused, Unfit
from accord.labels.users import TooMany
from accord.ports import LOOPBACK
from accord.store.artifacts import Store
from accord.web import annotating, entry, grouped, live, owning, pictures, red_teaming, watching
from accord.web.guard import Forbidden, NotSignedIn, Shield, Site, refusal, session_of
from accord.web.policies import Talking
from accord.web.templates import FOLDER, page
from accord.web.watches import Watches

_STATUS: Final[Mapping[type[Refused], int]] = {
    NotSignedIn: 401,
    Forbidden: 403,
    Missing: 404,
    Conflict: 409,
    Unfit: 422,
    TooMany: 429,
}


def create_app(
    database: Database,
    *,
    hosts: Sequence[str] = LOOPBACK,
    secure: bool = False,
    policies: Talking | None = None,
    store: Store | None = None,
) -> FastAPI:
    """hosts: the names under which it may be asked, so that no other site's name can be made to lead here. store: whose
    runs owners can look at."""
    app = FastAPI(title="Accord", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = Site(database, secure, policies, watches=Watches(store) if store else None)
    for part in (entry, annotating, live, red_teaming, owning, pictures, grouped, watching):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(Shield)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(UserError, _unavailable)
    return app


def _refused(request: Request, error: Exception) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    if _is_page(request) and status == 401:
        return RedirectResponse("/sign-in", 303)
    return _answer(request, status, str(error))


def _unreadable(request: Request, error: Exception) -> Response:
    """What was sent has another form than what is wanted: the first thing that is wrong with it."""
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
    return _answer(request, 422, f"{place}: {problem['msg'].removeprefix('Value error, ')}")


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = "there is no such page" if error.status_code == 404 else error.detail
    return _answer(request, error.status_code, why)


def _unavailable(request: Request, error: Exception) -> Response:
    """The database cannot be used. What it is and where is for the log, not for who asked."""
    return _answer(request, 503, "labels cannot be stored just now; what you typed is kept in this page", known=False)


def _answer(request: Request, status: int, why: str, *, known: bool = True) -> Response:
    """known: the database can be asked who it is."""
    if not _is_page(request):
        return refusal(status, why)
    session = None
    with suppress(UserError):
        session = session_of(request) if known else None
    text = f"{why[:1].upper()}{why[1:]}."
    return page("message", session, title="That did not work", text=text, status=status)


def _is_page(request: Request) -> bool:
    """Whether a person looks at the answer, rather than one of our modules."""
    return request.method in ("GET", "HEAD") and not request.url.path.startswith(("/api/", "/static/"))

"""Runs, as they go: for owners a list, a page for each with its curves, and the buttons that stop it and go on with it.

What changes is sent as server-sent events, each a part of a page as JSON, when it is another than the last one sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import anyio
from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from accord.errors import UserError
from accord.labels import events
from accord.labels.refusals import Conflict, Missing
from accord.labels.users import User
from accord.run_folder import REPORT
from accord.status import RunStatus, run_status
from accord.stopping import Process
from accord.strict import StrictModel
from accord.web.guard import Owner, Signed, session_of, site
from accord.web.templates import page
from accord.web.watches import LOOK_SECONDS, Parts, Watches

router = APIRouter()
BEAT_SECONDS: Final = 15.0  # between two signs of life, at which it is seen, too, whether who looks still may
RETRY_MILLISECONDS: Final = 3000  # after which a browser that was cut off asks again
_SANDBOX: Final = {  # a report is one page with its styles, pictures and script, and has a stricter policy in it
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "unsafe-none",  # with another, browsers refuse what is in a sandbox
}


class StopAsked(StrictModel):
    """The process that was seen to work on the run, so that no other one is stopped."""

    pid: int = Field(ge=1)
    host: str = Field(max_length=300)


@router.get("/runs", include_in_schema=False)
def runs_page(request: Request, session: Signed, user: Owner) -> Response:
    return page("runs", session, store=str(_watches(request).store.root))


@router.get("/runs/{name}", include_in_schema=False)
def run_page(request: Request, name: str, session: Signed, user: Owner) -> Response:
    return page("run", session, run=_status(request, name).name)


@router.get("/runs/{name}/report", include_in_schema=False)
def report(request: Request, name: str, user: Owner) -> Response:
    """The page that the run left, as it is: in a sandbox, so that nothing in it can ask this server for anything."""
    try:
        content = (Path(_status(request, name).folder) / REPORT).read_bytes()  # whole: it may be replaced meanwhile
    except OSError as error:
        what = "this run has no report yet: it is written when the run ends, or by `accord report`"
        raise Missing(what) from error
    return Response(content, media_type="text/html", headers=_SANDBOX)


@router.get("/api/runs/events", include_in_schema=False)
async def runs_events(request: Request, user: Owner) -> Response:
    return _stream(request, user, _watches(request).overview)


@router.get("/api/runs/{name}/events", include_in_schema=False)
async def run_events(
    request: Request, name: str, user: Owner, step: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """Also of a run that is not there: it may come."""
    watches = _watches(request)
    return _stream(request, user, lambda: watches.run(name[:300], step))


@router.post("/api/runs/{name}/stop", status_code=204)
def stop(request: Request, name: str, user: Owner, asked: StopAsked) -> None:
    """Lets the process that works on it save, and end."""
    found = _status(request, name)
    try:
        _watches(request).controls.stop(found.name, Process(asked.pid, asked.host))
    except UserError as error:
        raise Conflict(_said(error)) from error
    _record(request, "run stopped", user, found.name)


@router.post("/api/runs/{name}/resume", status_code=204)
def resume(request: Request, name: str, user: Owner) -> None:
    """Starts `accord run` for it, in the background."""
    found = _status(request, name)
    try:
        _watches(request).controls.resume(found.name)
    except UserError as error:
        raise Conflict(_said(error)) from error
    _record(request, "run gone on with", user, found.name)


def _watches(request: Request) -> Watches:
    watches = site(request).watches
    if watches is None:
        raise Missing("these pages were opened without a store of runs")
    return watches


def _status(request: Request, name: str) -> RunStatus:
    """By a name that a run has, and never as a path."""
    try:
        return run_status(_watches(request).store, name)
    except UserError as error:
        raise Missing(error.what) from error


def _said(error: UserError) -> str:
    return f"{error.what}. {error.remedy}".removesuffix(".")


def _record(request: Request, kind: str, user: User, run: str) -> None:
    database = site(request).database
    with database.writing() as connection:
        events.record(connection, database.now(), kind, user.id, run=run)


def _stream(request: Request, user: User, look: Callable[[], Parts]) -> Response:
    _watches(request).refuse_more()
    headers = {"X-Accel-Buffering": "no"}  # a proxy is not to hold it back
    return StreamingResponse(_events(request, user, look), media_type="text/event-stream", headers=headers)


async def _events(request: Request, user: User, look: Callable[[], Parts]) -> AsyncIterator[str]:
    """Until who looks leaves, may not look any more, or the server ends."""
    of, sent = site(request), dict[str, str]()
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    with suppress(Conflict), _watches(request).stream():  # who came too late asks again, and is told
        beat = anyio.current_time()
        while not of.leaving.is_set() and not await request.is_disconnected():
            parts = await to_thread.run_sync(look, limiter=of.looking)
            for name, content in parts.items():
                if sent.get(name) != content:
                    sent[name] = content
                    yield f"event: {name}\ndata: {content}\n\n"
            if anyio.current_time() - beat >= BEAT_SECONDS:
                beat = anyio.current_time()
                if not await to_thread.run_sync(_may_look, request, user, limiter=of.looking):
                    yield "event: out\ndata: {}\n\n"
                    return
                yield "event: beat\ndata: {}\n\n"
            await anyio.sleep(LOOK_SECONDS)


def _may_look(request: Request, user: User) -> bool:
    session = session_of(request)
    return session is not None and session.user.id == user.id and session.user.role == "owner"

"""Signing in and out, and coming in by a link."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field

from accord.labels import users
from accord.labels.declared import LEAST, Declared, declare, declared_by
from accord.labels.refusals import Refused, Unfit
from accord.labels.users import LEAST_PASSWORD, SESSION_SECONDS, Session, User
from accord.strict import StrictModel
from accord.web.guard import COOKIE, Signed, Site, session_of, site
from accord.web.passwords import hashed, is_password
from accord.web.templates import page

router = APIRouter()
MOST_NAME = 64
MOST_PASSWORD = 1000


class NewPassword(StrictModel):
    password: str = Field(min_length=LEAST_PASSWORD, max_length=MOST_PASSWORD)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, each once."""
    body = (await request.body()).decode("utf-8", "replace").replace("%00", "")
    try:
        return {name: values[-1] for name, values in parse_qs(body, max_num_fields=20).items()}
    except ValueError as error:
        raise Unfit("this form has too many fields") from error


Form = Annotated[dict[str, str], Depends(_form)]


@router.get("/sign-in", include_in_schema=False)
def sign_in_page(request: Request) -> Response:
    return RedirectResponse("/", 303) if session_of(request) else page("sign_in", name="", error="")


@router.post("/sign-in", include_in_schema=False)
def sign_in(request: Request, form: Form) -> Response:
    name, password = form.get("name", "").strip(), form.get("password", "")[:MOST_PASSWORD]
    address = request.client.host if request.client else ""
    database = site(request).database
    try:
        with database.writing() as connection:
            found = users.password_of(connection, database.now(), name, address)
        if not is_password(password, found[1] if found else None) or found is None:
            return page("sign_in", name=name, error="This name and password do not go together.", status=403)
    except Refused as refused:
        return page("sign_in", name=name, error=_sentence(refused), status=429)
    with database.writing() as connection:
        users.succeeded(connection, name, address)
    return _begin(site(request), found[0])


@router.post("/sign-out", include_in_schema=False)
def sign_out(request: Request, session: Signed) -> Response:
    with site(request).database.writing() as connection:
        users.end_session(connection, session.token)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


@router.get("/join/{token}", include_in_schema=False)
def join_page(request: Request, token: str) -> Response:
    database = site(request).database
    try:
        with database.reading() as connection:
            invite = users.invited(connection, database.now(), token)
    except Refused as refused:
        return page("message", title="This link does not work", text=_sentence(refused), status=404)
    return _join(invite.user, invite.role)


@router.post("/join/{token}", include_in_schema=False)
def join(request: Request, token: str, form: Form) -> Response:
    database = site(request).database
    name, password = form.get("name", "").strip(), form.get("password", "")
    try:
        with database.reading() as connection:
            invite = users.invited(connection, database.now(), token)
        if invite.user is None and (wrong := _wrong(name, password)):
            return _join(None, invite.role, name, wrong, 422)
        stored = None if invite.user else hashed(password)
        with database.writing() as connection:
            user = users.accept(connection, database.now(), token, name, stored)
    except Refused as refused:
        return page("message", title="That did not work", text=_sentence(refused), status=409)
    return _begin(site(request), user)


@router.get("/you", include_in_schema=False)
def you_page(request: Request, session: Signed) -> Response:
    """One's password, and what one says of oneself."""
    with site(request).database.reading() as connection:
        said = declared_by(connection, session.user.id)
    return page("you", session, least=LEAST_PASSWORD, declared=said, least_people=LEAST)


@router.put("/api/you", status_code=204)
def declare_(request: Request, session: Signed, sent: Declared) -> None:
    database = site(request).database
    with database.writing() as connection:
        declare(connection, database.now(), session.user.id, sent)


@router.put("/api/password", status_code=204)
def set_password(request: Request, session: Signed, sent: NewPassword) -> None:
    """From now on the person signs in with it; other browsers have to sign in anew."""
    database, stored = site(request).database, hashed(sent.password)
    with database.writing() as connection:
        users.set_password(connection, database.now(), session.user, stored)
        users.end_others(connection, session.user, session.token)


def _join(user: User | None, role: str, name: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    return page("join", invited=user, role=role, name=name, error=error, least=LEAST_PASSWORD, status=status)


def _wrong(name: str, password: str) -> str:
    if not name or len(name) > MOST_NAME or not name.isprintable():
        return f"Choose a name of 1 to {MOST_NAME} letters, without control characters."
    if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
        return f"Choose a password of at least {LEAST_PASSWORD} characters."
    return ""


def _begin(to: Site, user: User) -> Response:
    with to.database.writing() as connection:
        session: Session = users.begin_session(connection, to.database.now(), user)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE, session.token, max_age=int(SESSION_SECONDS), httponly=True, samesite="lax", secure=to.secure
    )
    return response


def _sentence(refused: Refused) -> str:
    text = str(refused)
    return f"{text[:1].upper()}{text[1:]}."

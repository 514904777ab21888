"""Who may do what, on every address that there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from accord.labels import users
from accord.labels.database import Database
from accord.ports import MOST_BYTES
from accord.web.app import create_app
from tests.labels.people import campaign
from tests.web.conftest import BASE, Browser

Visit = Callable[..., Browser]
EVERYBODY = {"owner", "reviewer", "annotator", "red-teamer"}
ANNOTATORS, WATCHERS, OWNERS = EVERYBODY - {"red-teamer"}, {"owner", "reviewer"}, {"owner"}
ATTACKERS = EVERYBODY - {"annotator"}

# (method, path) -> who may
ALLOWED = {
    ("GET", "/"): EVERYBODY,
    ("POST", "/sign-out"): EVERYBODY,
    ("GET", "/you"): EVERYBODY,
    ("PUT", "/api/you"): EVERYBODY,
    ("PUT", "/api/password"): EVERYBODY,
    ("POST", "/api/users/{user_id}/link"): OWNERS,
    ("GET", "/campaigns/{campaign_id}/annotate"): ANNOTATORS,
    ("POST", "/api/campaigns/{campaign_id}/next"): ANNOTATORS,
    ("PUT", "/api/assignments/{assignment_id}/draft"): ANNOTATORS,
    ("POST", "/api/assignments/{assignment_id}/answer"): ANNOTATORS,
    ("POST", "/api/assignments/{assignment_id}/skip"): ANNOTATORS,
    ("POST", "/api/campaigns/{campaign_id}/undo"): ANNOTATORS,
    ("POST", "/api/campaigns/{campaign_id}/write"): ANNOTATORS,
    ("GET", "/campaigns/{campaign_id}/red-team"): ATTACKERS,
    ("GET", "/campaigns/{campaign_id}/second"): ATTACKERS,
    ("POST", "/api/campaigns/{campaign_id}/sittings"): ATTACKERS,
    ("PUT", "/api/sittings/{sitting_id}/clock"): ATTACKERS,
    ("POST", "/api/campaigns/{campaign_id}/sittings/{sitting_id}/attacks"): ATTACKERS,
    ("GET", "/api/attacks/{attack_id}/turns"): ATTACKERS,
    ("POST", "/api/attacks/{attack_id}/turns"): ATTACKERS,
    ("GET", "/campaigns/{campaign_id}/disputed"): WATCHERS,
    ("POST", "/api/campaigns/{campaign_id}/disputed"): WATCHERS,
    ("POST", "/api/replies/{reply_id}/rating"): ATTACKERS,
    ("POST", "/api/campaigns/{campaign_id}/second"): ATTACKERS,
    ("POST", "/api/replies/{reply_id}/second"): ATTACKERS,
    ("POST", "/api/replies/{reply_id}/final"): WATCHERS,
    ("GET", "/campaigns/{campaign_id}"): WATCHERS,
    ("GET", "/campaigns/{campaign_id}/groups"): WATCHERS,
    ("GET", "/campaigns/{campaign_id}/pictures/{name}.svg"): WATCHERS,
    ("PATCH", "/api/campaigns/{campaign_id}"): OWNERS,
    ("GET", "/people"): OWNERS,
    ("GET", "/events"): OWNERS,
    ("GET", "/runs"): OWNERS,
    ("GET", "/runs/{name}"): OWNERS,
    ("GET", "/runs/{name}/report"): OWNERS,
    ("GET", "/api/runs/events"): OWNERS,
    ("GET", "/api/runs/{name}/events"): OWNERS,
    ("POST", "/api/runs/{name}/stop"): OWNERS,
    ("POST", "/api/runs/{name}/resume"): OWNERS,
    ("POST", "/api/invitations"): OWNERS,
    ("PATCH", "/api/users/{user_id}"): OWNERS,
}
OPEN = {("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/join/{token}"), ("POST", "/join/{token}")}


def routes(database: Database) -> set[tuple[str, str]]:
    app = create_app(database)
    found: set[tuple[str, str]] = set()

    def walk(some: Any) -> None:
        for route in some:
            if getattr(route, "methods", None):
                found.update((method, route.path) for method in route.methods - {"HEAD"})
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            if inner is not None:
                walk(inner.routes)

    walk(app.routes)
    return found


def test_every_address_is_in_the_table(database: Database) -> None:
    assert routes(database) == set(ALLOWED) | OPEN


@pytest.mark.parametrize(("method", "path"), list(ALLOWED))
def test_roles(database: Database, visit: Visit, method: str, path: str) -> None:
    campaign(database, 1)
    concrete = re.sub(r"{\w+}", "1", path)
    for role in sorted(EVERYBODY):
        status = visit(f"{role} one", role).ask(method, concrete, {}).status_code
        assert (status == 403) == (role not in ALLOWED[method, path]), (role, status)
        assert status < 500


@pytest.mark.parametrize(("method", "path"), list(ALLOWED))
def test_nobody_gets_in_without_signing_in(database: Database, visit: Visit, method: str, path: str) -> None:
    campaign(database, 1)
    answer = visit().request(method, re.sub(r"{\w+}", "1", path), follow_redirects=False)
    if method == "GET" and not path.startswith("/api/"):
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    else:
        assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path"), [one for one in ALLOWED if one[0] != "GET"])
def test_a_change_needs_the_pages_token_and_no_other_sites_page(
    database: Database, visit: Visit, method: str, path: str
) -> None:
    campaign(database, 1)
    owner, concrete = visit("olga", "owner"), re.sub(r"{\w+}", "1", path)
    for headers in ({}, {"X-CSRF-Token": "guessed"}, {"X-CSRF-Token": owner.csrf, "Origin": "http://evil.example"}):
        assert owner.request(method, concrete, json={}, headers=headers).status_code == 403
    assert owner.request("GET", "/").status_code == 200


def test_another_name_for_this_machine_leads_nowhere(visit: Visit) -> None:
    """A page elsewhere could make its own name lead here (DNS rebinding)."""
    assert visit().get("/sign-in", headers={"Host": "evil.example"}).status_code == 400


def test_headers_forbid_scripts_from_anywhere_else(visit: Visit) -> None:
    for path in ("/sign-in", "/nowhere", "/static/annotate.js", "/api/nowhere"):
        headers = visit().get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert visit().get("/sign-in").headers["cache-control"] == "no-store"


def test_no_page_holds_a_script_or_a_style_of_its_own(database: Database, visit: Visit) -> None:
    campaign(database, 1)
    owner = visit("olga", "owner")
    for path in ("/", "/campaigns/1", "/campaigns/1/annotate", "/people", "/events", "/you", "/nowhere"):
        text = owner.get(path).text
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert text.count("<script") == text.count('<script type="module" src="/static/')
        assert "http://" not in text
        assert "https://" not in text


def test_cookies_are_for_the_server_alone(database: Database) -> None:
    for secure in (False, True):
        browser = Browser(create_app(database, secure=secure), base_url=BASE)
        with database.writing() as connection:
            token = users.invite(connection, database.now(), "annotator")
        form = {"name": f"ana {secure}", "password": "correct horse battery"}
        cookie = browser.post(f"/join/{token}", data=form, follow_redirects=False).headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert ("secure" in cookie) == secure


def test_what_is_too_long_is_refused(visit: Visit) -> None:
    ana = visit("ana")
    assert ana.ask("POST", "/api/campaigns/1/next", "a" * MOST_BYTES).status_code == 413
    headers = {"Content-Length": "-5", "X-CSRF-Token": ana.csrf}
    assert ana.post("/api/campaigns/1/next", headers=headers, content=b"").status_code == 413


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"]
)
def test_files_are_those_of_the_folder_alone(visit: Visit, path: str) -> None:
    answer = visit().get(path)
    assert answer.status_code == 404
    assert "create_app" not in answer.text


def test_numbers_that_are_none_are_no_errors_of_ours(database: Database, visit: Visit) -> None:
    ana = visit("ana")
    for number in ("0", "-1", "99999999999999999999", "x", "1.5"):
        assert ana.get(f"/campaigns/{number}/annotate").status_code == 422
        assert ana.ask("POST", f"/api/campaigns/{number}/next").status_code == 422


def test_a_database_that_is_away_is_said_so_without_a_word_of_where(database: Database, visit: Visit) -> None:
    from accord.errors import UserError

    ana = visit("ana")

    def fail() -> Any:
        raise UserError("the label database cannot be used", where="/secret/place")

    database.reading = fail  # type: ignore[method-assign]
    answer = ana.ask("POST", "/api/campaigns/1/next")
    assert answer.status_code == 503
    assert "kept in this page" in answer.json()["error"]
    page = ana.get("/")
    assert page.status_code == 503
    assert "secret" not in page.text

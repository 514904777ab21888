from __future__ import annotations

from collections.abc import Callable

from accord.labels import users
from accord.labels.database import Database
from accord.labels.users import MOST_FAILURES
from accord.ports import is_loopback
from accord.web.passwords import hashed, is_password
from accord.web.serving import first_link
from tests.web.conftest import Browser

Visit = Callable[..., Browser]
PASSWORD = "correct horse battery"


def invitation(database: Database) -> str:
    with database.writing() as connection:
        return users.invite(connection, database.now(), "annotator")


def test_a_name_and_a_password_let_in_again_and_out(database: Database, visit: Visit) -> None:
    ana = visit("ana")
    assert ana.get("/").status_code == 200
    assert ana.ask("POST", "/sign-out").status_code == 204
    assert ana.get("/", follow_redirects=False).headers["location"] == "/sign-in"
    wrong = ana.post("/sign-in", data={"name": "ana", "password": "something else"})
    assert (wrong.status_code, "do not go together" in wrong.text) == (403, True)
    assert 'value="ana"' in wrong.text  # what was typed stays
    assert ana.post("/sign-in", data={"name": " ana ", "password": PASSWORD}).url.path == "/"


def test_an_invitation_is_looked_at_without_being_used(database: Database, visit: Visit) -> None:
    token = invitation(database)
    for _ in range(2):
        assert "You were invited" in visit().get(f"/join/{token}").text
    assert visit().post(f"/join/{token}", data={"name": "ana", "password": PASSWORD}).url.path == "/"
    for method in ("GET", "POST"):
        again = visit().request(method, f"/join/{token}", data={"name": "ben", "password": PASSWORD})
        assert again.status_code in (404, 409)
        assert "used up or too old" in again.text


def test_what_is_chosen_must_fit_and_what_was_typed_stays(database: Database, visit: Visit) -> None:
    token = invitation(database)
    for name, password, why in (
        ("", PASSWORD, "Choose a name"),
        ("a" * 65, PASSWORD, "Choose a name"),
        ("a\tb", PASSWORD, "Choose a name"),
        ("ana", "short", "at least 10 characters"),
    ):
        answer = visit().post(f"/join/{token}", data={"name": name, "password": password})
        assert answer.status_code == 422
        assert why in answer.text
    assert visit().post(f"/join/{token}", data={"name": "ana", "password": PASSWORD}).url.path == "/"


def test_a_name_that_is_taken_is_said_and_the_link_stays_good(database: Database, visit: Visit) -> None:
    visit("ana")
    token = invitation(database)
    taken = visit().post(f"/join/{token}", data={"name": "ana", "password": PASSWORD})
    assert taken.status_code == 409
    assert "is taken" in taken.text
    assert visit().post(f"/join/{token}", data={"name": "ben", "password": PASSWORD}).url.path == "/"


def test_sign_ins_are_limited(database: Database, visit: Visit) -> None:
    visit("ana")
    nobody = visit()
    for _ in range(MOST_FAILURES):
        assert nobody.post("/sign-in", data={"name": "ana", "password": "wrong"}).status_code == 403
    answer = nobody.post("/sign-in", data={"name": "ana", "password": PASSWORD})
    assert answer.status_code == 429
    assert "wait a quarter of an hour" in answer.text


def test_the_printed_link_lets_the_first_owner_in_once(database: Database, visit: Visit) -> None:
    link, owner = first_link(database), visit()
    assert "lets you in as" in owner.get(f"/join/{link}").text
    assert owner.post(f"/join/{link}").url.path == "/"
    assert "People and invitations" in owner.get("/").text
    assert visit().post(f"/join/{link}").status_code == 409
    first_link(database)
    with database.reading() as connection:
        assert len(users.every(connection)) == 1


def test_passwords_are_argon2id() -> None:
    stored = hashed("a password")
    assert stored.startswith("$argon2id$")
    assert is_password("a password", stored)
    assert not is_password("another", stored)
    assert not is_password("", None)
    assert not is_password("a password", "not a hash")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.1.2.3", "example.org")))


def test_forms_that_are_none(database: Database, visit: Visit) -> None:
    many = "&".join(f"f{i}=1" for i in range(30))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = visit().post("/sign-in", content=many, headers=headers)
    assert answer.status_code == 422
    assert visit().post("/sign-in", content="name=a%00b&password=%ff", headers=headers).status_code == 403


def test_a_password_that_was_lost_is_set_anew(visit: Visit) -> None:
    owner, ana = visit("olga", "owner"), visit("ana")
    path = owner.ask("POST", "/api/users/2/link").json()["path"]
    again = visit()
    assert "lets you in as" in again.get(path).text
    assert again.post(path).url.path == "/"
    again.look()
    assert again.ask("PUT", "/api/password", {"password": "short"}).status_code == 422
    assert again.ask("PUT", "/api/password", {"password": "a wholly new one"}).status_code == 204
    assert again.get("/you").status_code == 200
    assert ana.get("/", follow_redirects=False).headers["location"] == "/sign-in"  # elsewhere it ends
    assert ana.post("/sign-in", data={"name": "ana", "password": PASSWORD}).status_code == 403
    assert ana.post("/sign-in", data={"name": "ana", "password": "a wholly new one"}).url.path == "/"
    assert owner.ask("POST", "/api/users/99/link").status_code == 404

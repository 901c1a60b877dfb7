"""Flask: its own session on Sessile's data, views that demand, and the helpers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from sessile import Active, Authority, Policy
from sessile.flask import AccessDenied, Sessile, access, current_session, require, sign_in, sign_out, step_up

COOKIE = "__Host-sessile"


def make(**settings: Any) -> flask.Flask:
    app = flask.Flask(__name__)
    sessile = Sessile(authority=Authority("memory:", policy=Policy.aal2()), **settings)
    sessile.init_app(app)

    @app.post("/login/<name>")
    def login(name: str) -> str:
        with sessile.authority.sign_in(name) as attempt:
            return sign_in(attempt, method="password").id

    @app.post("/totp")
    def totp() -> str:
        return str(step_up(method="totp").assurance)

    @app.post("/logout")
    def logout() -> str:
        sign_out()
        return "bye"

    @app.get("/")
    def home() -> str:
        session = access().session
        return f"hello {session.principal}" if session else "hello"

    @app.get("/me")
    def me() -> str:
        return current_session.principal or ""

    @app.get("/count")
    def count() -> str:
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    @app.get("/deep")
    def deep() -> list[str]:
        found: list[str] = flask.session.setdefault("list", [])
        found.append("x")
        return found

    @app.get("/flash")
    def flash() -> str:
        flask.flash("saved", "note")
        return ""

    @app.get("/flashed")
    def flashed() -> list[Any]:
        return list(flask.get_flashed_messages(with_categories=True))

    @app.get("/much")
    def much() -> str:
        flask.session["much"] = "x" * 70_000
        return "saved"

    @app.get("/sensitive")
    @require(assurance=2, fresh=timedelta(minutes=5))
    def sensitive() -> str:
        return "done"

    @app.get("/async")
    @require()
    async def in_a_coroutine() -> str:
        return current_session.principal or ""

    return app


@pytest.fixture
def app() -> Iterator[flask.Flask]:
    app = make()
    yield app
    app.extensions["sessile"].authority.close()


@pytest.fixture
def browser(app: flask.Flask) -> FlaskClient:
    return app.test_client()


def token(browser: FlaskClient) -> str | None:
    found = browser.get_cookie(COOKIE)
    return found.value if found else None


def test_sign_in_step_up_and_sign_out(app: flask.Flask, browser: FlaskClient) -> None:
    assert browser.get("/").text == "hello"
    answer = browser.get("/me")
    assert (answer.status_code, answer.json and answer.json["reason"]) == (401, "missing")
    assert answer.mimetype == "application/problem+json"
    browser.post("/login/alice")
    assert browser.get("/me").text == "alice"
    assert browser.get("/async").text == "alice"
    answer = browser.get("/sensitive")
    assert (answer.status_code, answer.json and answer.json["cure"]) == (401, "step_up")
    assert browser.post("/totp").text == "2"
    assert browser.get("/sensitive").text == "done"
    held = token(browser)
    answer = browser.post("/logout")
    assert answer.headers["Clear-Site-Data"] == '"storage"'
    assert token(browser) is None
    browser.set_cookie(COOKIE, held or "")
    answer = browser.get("/me")
    assert (answer.status_code, answer.json and answer.json["reason"]) == (401, "revoked")
    assert "Set-Cookie" not in answer.headers


def test_flasks_session_is_the_sessions_data(app: flask.Flask, browser: FlaskClient) -> None:
    assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]
    anonymous = token(browser)
    browser.post("/login/alice")
    assert token(browser) != anonymous
    assert browser.get("/count").text == "4"
    assert [browser.get("/deep").json for _ in range(2)] == [["x"], ["x", "x"]]
    browser.get("/flash")
    assert browser.get("/flashed").json == [["note", "saved"]]
    assert browser.get("/flashed").json == []
    answer = browser.get("/much")
    assert (answer.status_code, answer.json and answer.json["title"]) == (409, "Limit reached")
    assert browser.get("/count").text == "5"


def test_a_test_client_may_set_what_the_session_holds(app: flask.Flask, browser: FlaskClient) -> None:
    with browser.session_transaction() as session:
        session["count"] = 41
    assert browser.get("/count").text == "42"
    authority = app.extensions["sessile"].authority
    browser.set_cookie(COOKIE, authority.begin("alice").token)
    assert browser.get("/me").text == "alice"
    with browser.session_transaction() as session:
        assert dict(session) == {}
        session["count"] = 1
    assert browser.get("/count").text == "2"
    found = authority.check(token(browser))
    assert isinstance(found, Active)
    assert found.session.principal == "alice"


def test_foreign_hosts_and_other_sites_are_refused(browser: FlaskClient) -> None:
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert browser.get("/nowhere", headers={"Host": "evil.example"}).status_code == 421
    assert browser.post("/login/alice", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.get("/nowhere").status_code == 404


def test_cookies_that_cannot_be_read_count_as_none(app: flask.Flask) -> None:
    """Review 19: werkzeug's own reading of cookies decides nothing."""
    authority = app.extensions["sessile"].authority
    good, evil = (f"{COOKIE}={authority.begin(name).token}" for name in ("alice", "mallory"))
    browser = app.test_client(use_cookies=False)
    for cookie in (f"{good}; {evil}", f"{evil}; {good}", f"{good}; {good}"):
        assert browser.get("/me", headers={"Cookie": cookie}).status_code == 400
        assert browser.get("/", headers={"Cookie": cookie}).text == "hello"
    for trick in ("\x85", "\xa0", "\x1f"):
        assert browser.get("/", headers={"Cookie": trick + evil}).text == "hello"
        assert "mallory" not in browser.get("/", headers={"Cookie": f"{good}; {trick}{evil}"}).text


def test_an_application_may_say_a_denial_in_its_own_way(app: flask.Flask, browser: FlaskClient) -> None:
    @app.errorhandler(AccessDenied)
    def to_the_login(error: AccessDenied) -> Any:
        return flask.redirect(f"/login?why={error.denied.reason}")

    assert browser.get("/me").location == "/login?why=missing"


def test_without_sessile_the_message_names_the_cure() -> None:
    app = flask.Flask(__name__)
    with app.test_request_context("/"), pytest.raises(RuntimeError, match="Sessile\\(app"):
        access()

"""The WSGI middleware goes by the rules of the ASGI one."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessile import Active, Authority, Policy
from sessile.web.watch import Over
from sessile.wsgi import SessileMiddleware
from tests.asgi.test_refusals import CROSS, FOREIGN, METHODS, OWN, SAME, SIBLING
from tests.wsgi.browser import COOKIE, MINUTE, Browser, Start, application, world


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:99999", "", "a b", "127.0.0.2"])
def test_a_foreign_host_is_refused_before_anything_else(host: str) -> None:
    """Review 22."""
    with world() as w:
        browser = w.signed_in()
        for path, method in (("/page", "GET"), ("/nowhere", "GET"), ("/private", "POST")):
            answer = browser.ask(method, path, Host=host, Sec_Fetch_Site=CROSS)
            assert answer.status == 421
            assert answer.json["type"].endswith("misdirected")


@pytest.mark.requirement("ASVS V3.5.1")
@pytest.mark.parametrize(
    ("site", "origin", "allowed"),
    [
        (SAME, OWN, True), (SAME, None, True), ("none", None, True), (None, None, True), (None, OWN, True),
        (SIBLING, None, False), (CROSS, None, False), (CROSS, FOREIGN, False), (None, FOREIGN, False),
        (None, "null", False), (CROSS, OWN, False), ("strange", OWN, False), (f"{SAME}, {SAME}", OWN, False),
    ],
)  # fmt: skip
def test_which_requests_may_change_something(site: str | None, origin: str | None, allowed: bool) -> None:
    with world() as w:
        browser = w.signed_in()
        browser.headers = {"Host": "localhost"}
        sent = ({"Sec_Fetch_Site": site} if site else {}) | ({"Origin": origin} if origin else {})
        for method in METHODS:
            answer = browser.ask(method, "/page", **sent)
            assert answer.status == (200 if allowed else 403)
            assert allowed or answer.json["type"].endswith("cross_site")
        assert browser.get("/page", **sent).status == 200


def test_a_session_from_sign_in_to_sign_out() -> None:
    with world() as w:
        browser = w.browser()
        assert browser.get("/private").json["reason"] == "missing"
        assert browser.get("/data/cart=lamp").json == {"cart": "lamp"}  # nobody's session
        anonymous = browser.token
        answer = browser.post("/login/alice")
        assert answer.header("Set-Cookie") == f"{COOKIE}={browser.token}; Path=/; Secure; HttpOnly; SameSite=Lax"
        assert answer.header("Cache-Control") == "no-store"
        assert browser.get("/private").json == {"principal": "alice"}
        assert browser.get("/data").json == {"cart": "lamp"}
        assert not w.authority.check(anonymous)
        # A second sign-in replaces the first.
        first = browser.token
        browser.post("/login/alice")
        denied = w.authority.check(first)
        assert not denied
        assert denied.cause == "replaced"
        answer = browser.post("/logout")
        assert answer.status == 204
        assert answer.header("Clear-Site-Data") == '"storage"'
        assert "Max-Age=0" in (answer.header("Set-Cookie") or "")
        assert browser.token is None


def test_what_a_route_demands_is_said_as_a_problem() -> None:
    with world() as w:
        browser = w.signed_in()
        answer = browser.get("/sensitive")
        assert (answer.status, answer.json["cure"]) == (401, "step_up")
        assert answer.header("Content-Type") == "application/problem+json"
        assert answer.all("Set-Cookie") == []
        before = browser.token
        assert browser.post("/totp").json == {"assurance": 2}
        assert browser.token != before
        assert browser.get("/sensitive").json == {"principal": "alice"}
        superseded = Browser(w.app)
        superseded.token = before
        answer = superseded.get("/private")
        assert (answer.status, answer.json["cure"]) == (401, "retry")
        assert answer.all("Set-Cookie") == []  # a newer cookie is not taken away
        w.clock.advance(6 * MINUTE)
        assert browser.get("/sensitive").json["reason"] == "stale_authentication"
        active = w.authority.check(browser.token)
        assert isinstance(active, Active)
        agent = w.browser(Authorization=f"Bearer {w.authority.delegate(active, to='agent:a', scopes={'x'}).token}")
        answer = agent.get("/deploy")
        assert (answer.status, answer.json["reason"]) == (403, "out_of_scope")
        assert 'scope="deploy"' in (answer.header("WWW-Authenticate") or "")


def test_a_token_counts_in_its_place_only() -> None:
    with world() as w:
        browser = w.signed_in()
        active = w.authority.check(browser.token)
        assert isinstance(active, Active)
        token = w.authority.delegate(active, to="agent:a", scopes=set()).token
        foreign = {"Sec_Fetch_Site": CROSS, "Origin": FOREIGN}
        assert w.browser(**foreign).post("/page", Authorization=f"Bearer {token}").json == {"principal": "agent:a"}
        assert browser.get("/page", Authorization=f"Bearer {token}").json == {"principal": "agent:a"}
        for other in ("Basic YTpi", f"Bearer {browser.token}"):
            assert browser.post("/page", Authorization=other, **foreign).status == 403
        assert w.browser().get("/private", Authorization=f"Bearer {browser.token}").status == 401
        assert w.browser().get("/private", Cookie=f"{COOKIE}={token}").json["reason"] == "missing"


def test_cookies_that_cannot_be_read_count_as_none() -> None:
    """Review 19: the parser's tricks, two of the name, another spelling; also as servers join two Cookie headers."""
    with world() as w:
        good = f"{COOKIE}={w.signed_in().token}"
        evil = f"{COOKIE}={w.authority.begin('mallory').token}"
        for first, second in ((good, evil), (evil, good), (good, good), (good, good.replace("__Host", "__host"))):
            for joint in ("; ", ",", ";"):
                answer = w.browser().get("/private", Cookie=first + joint + second)
                assert answer.status == 400
                assert w.browser().get("/page", Cookie=first + joint + second).json == {"principal": None}
        for trick in ("\x85", "\xa0", "\x1f", "\u2003"):
            answer = w.browser().get("/page", Cookie=f"{good}; {trick}{evil}")
            assert answer.json["principal"] in (None, "alice")
            assert w.browser().get("/page", Cookie=f"{trick}{evil}").json == {"principal": None}


def test_a_token_is_rotated_by_age_and_data_is_saved_before_the_answer() -> None:
    with world() as w:
        browser = w.signed_in()
        old = browser.token
        w.clock.advance(16 * MINUTE)
        assert browser.get("/data/a=1").json == {"a": "1"}
        assert browser.token != old
        assert browser.get("/data").json == {"a": "1"}
        w.clock.advance(16 * MINUTE)
        assert browser.get("/cached").all("Set-Cookie") == []  # others would be given it too


def test_data_that_cannot_be_saved_is_a_problem_and_not_an_answer() -> None:
    with world() as w:
        browser = w.signed_in()
        answer = browser.get("/data/a=much")
        assert (answer.status, answer.json["title"]) == (409, "Limit reached")
        assert browser.get("/data").json == {}


def test_the_applications_own_headers_stay() -> None:
    with world() as w:
        browser = w.signed_in()
        answer = browser.get("/cached")
        assert answer.header("X-Own") == "kept"
        assert answer.header("Cache-Control") == "public, max-age=600"
        assert answer.header("Vary") == "Cookie"
        assert browser.get("/plain").header("Cache-Control") == "no-store"
        assert w.browser().get("/plain").header("Vary") is None


def test_a_store_that_is_away_signs_nobody_out(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    with world(url=f"sqlite:///{tmp_path / 'here.db'}") as w:
        token = w.signed_in().token
    app = Browser(SessileMiddleware(application, Authority(f"sqlite:///{folder / 'gone.db'}")))
    app.token = token
    answer = app.get("/private")
    assert (answer.status, answer.json["reason"]) == (503, "unavailable")
    assert answer.all("Set-Cookie") == []
    assert app.get("/page").json == {"principal": None}


def test_who_asks_is_the_peer_unless_a_trusted_proxy_says_otherwise() -> None:
    for trusted, address in (((), "192.0.2.1"), (("192.0.2.0/24",), "203.0.113.9")):
        with world(trusted_proxies=trusted) as w:
            browser = w.signed_in(X_Forwarded_For="203.0.113.9")
            found = w.authority.check(browser.token)
            assert isinstance(found, Active)
            assert found.session.client.ip == address
            assert found.session.client.label == "Chrome on Linux"


def test_only_an_act_of_a_person_keeps_a_session() -> None:
    with world(no_activity=["/page"], policy=Policy.aal2(rotate_after=None)) as w:
        quiet = (("/page", {}), ("/plain", {"Sessile_Activity": "none"}), ("/plain", {"Sec_Purpose": "prefetch"}))
        for path, sent in quiet:
            browser = w.signed_in()
            for _ in range(2):
                w.clock.advance(31 * MINUTE)
                answer = browser.get(path, **sent)
            assert answer.status == 200
            assert browser.get("/private").json["reason"] == "idle"


# -- long answers -------------------------------------------------------------------------------------------------


def streaming(kind: str, pieces: list[bytes], started: list[Any]) -> Any:
    def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        def body() -> Iterator[bytes]:
            started.append(environ["sessile.access"])
            yield from pieces

        start("200 OK", [("Content-Type", kind)])
        return body()

    return app


def test_an_answer_in_pieces_ends_with_its_session() -> None:
    started: list[Any] = []
    for kind in ("text/plain", "text/event-stream"):
        with world(streaming(kind, [b"one", b"two", b"three"], started)) as w:
            issued = w.authority.begin("alice", method="password")
            browser = w.browser()
            environ = browser.environ("GET", "/", {"Cookie": f"{COOKIE}={issued.token}"})
            pieces = iter(w.app(environ, lambda *_: lambda _: None))
            assert next(pieces) == b"one"
            assert next(pieces) == b"two"
            w.authority.revoke(session=issued.active.session.id, cause="test")
            with pytest.raises(StopIteration if kind == "text/event-stream" else Over):
                next(pieces)
            pieces.close()


def test_an_application_may_start_late_write_and_start_again() -> None:
    def late(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
        if environ["PATH_INFO"] == "/denied":
            environ["sessile.access"].require()
        start("200 OK", [("Content-Type", "text/plain")])
        yield b"late"

    def write(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        environ["sessile.access"].access.data["x"] = "y" * (70_000 if environ["PATH_INFO"] == "/much" else 1)
        start("200 OK", [("Content-Type", "text/plain")])(b"written")
        return [b""]

    def again(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        try:
            raise KeyError
        except KeyError:
            start("500 Internal Server Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"broken"]

    with world(late) as w:
        assert w.browser().get("/").body == b"late"
        assert w.browser().get("/denied").json["reason"] == "missing"
    with world(write) as w:
        answer = w.browser().get("/")
        assert answer.body == b"written"
        assert len(answer.all("Set-Cookie")) == 1
        answer = w.browser().get("/much")
        assert (answer.status, answer.json["title"]) == (409, "Limit reached")
    with world(again) as w:
        answer = w.browser().get("/")
        assert (answer.status, answer.body) == (500, b"broken")


def test_a_problem_has_no_body_for_head() -> None:
    with world() as w:
        answer = w.browser().ask("HEAD", "/private")
        assert (answer.status, answer.body) == (401, b"")

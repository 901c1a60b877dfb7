"""What the middleware refuses: foreign hosts, other sites' requests, junk; and a store that is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessile import AtLimit, Authority, Policy, Reason
from tests.asgi.browser import COOKIE, ORIGIN, application, set_cookies, token_of, world

METHODS = ("POST", "PUT", "PATCH", "DELETE")


async def ask(
    app: Any, headers: list[tuple[bytes, bytes]], path: str = "/private", method: str = "GET"
) -> tuple[int, bytes]:
    """The application's answer to raw headers, which no HTTP client would send."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "https",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("192.0.2.1", 4711), "server": ("localhost", 443),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost:99999", "", "a b", "127.0.0.2"])
async def test_a_foreign_host_is_refused_before_anything_else(host: str) -> None:
    """Review 22: 421, also for pages that everybody may see, and whatever else is wrong with the request."""
    async with world() as w:
        browser = await w.signed_in()
        for path, method in (("/page", "GET"), ("/private", "GET"), ("/nowhere", "GET"), ("/page", "POST")):
            headers = [
                (b"host", host.encode()),
                (b"sec-fetch-site", b"cross-site"),
                (b"cookie", f"{COOKIE}={token_of(browser)}".encode()),
            ]
            status, body = await ask(w.app, headers, path, method)
            assert status == 421
            assert b"misdirected" in body
        assert (await ask(w.app, [], "/page"))[0] == 421
        assert (await ask(w.app, [(b"host", b"localhost"), (b"host", b"localhost")], "/page"))[0] == 421


async def test_hosts_come_from_the_origins() -> None:
    async with world(origins=["https://console.example.com"], allowed_hosts=["10.1.2.3"]) as w:
        for host, status in ((b"console.example.com", 200), (b"10.1.2.3", 200), (b"localhost", 421)):
            assert (await ask(w.app, [(b"host", host)], "/page"))[0] == status


SAME, SIBLING, CROSS, NONE = "same-origin", "same-site", "cross-site", "none"
OWN, FOREIGN = "https://localhost", "https://evil.example"


@pytest.mark.requirement("ASVS V3.5.1")
@pytest.mark.parametrize(
    ("site", "origin", "allowed"),
    [
        (SAME, OWN, True), (SAME, None, True), (NONE, None, True), (None, None, True), (None, OWN, True),
        (SIBLING, None, False), (SIBLING, "https://a.localhost", False), (CROSS, None, False), (CROSS, FOREIGN, False),
        (None, FOREIGN, False), (None, "null", False), (CROSS, OWN, False), ("strange", OWN, False),
        (CROSS, "https://partner.example", False),
    ],
)  # fmt: skip
async def test_which_requests_may_change_something(site: str | None, origin: str | None, allowed: bool) -> None:
    async with world() as w:
        browser = await w.signed_in()
        headers = [(b"host", b"localhost"), (b"cookie", f"{COOKIE}={token_of(browser)}".encode())]
        headers += [(b"sec-fetch-site", site.encode())] if site else []
        headers += [(b"origin", origin.encode())] if origin else []
        for method in METHODS:
            status, body = await ask(w.app, headers, "/page", method)
            assert status == (200 if allowed else 403)
            assert allowed or b"cross_site" in body
        assert (await ask(w.app, headers, "/page", "GET"))[0] == 200


async def test_the_public_origins_are_trusted() -> None:
    async with world(origins=["https://console.example", "https://admin.example"]) as w:
        headers = [(b"host", b"console.example"), (b"sec-fetch-site", b"same-site")]
        for origin, status in ((b"https://admin.example", 200), (b"https://other.example", 403)):
            assert (await ask(w.app, [*headers, (b"origin", origin)], "/page", "POST"))[0] == status


async def test_a_bearer_token_is_not_sent_by_itself() -> None:
    async with world() as w:
        browser = await w.signed_in()
        active = await w.authority.check(token_of(browser) or "")
        assert active
        token = (await w.authority.delegate(active, to="agent:a", scopes=set())).token
        foreign = {"Sec-Fetch-Site": CROSS, "Origin": FOREIGN}
        mine = {"Authorization": f"Bearer {token}"}
        assert (await w.browser(**foreign).post("/page", headers=mine)).json() == {"principal": "agent:a"}
        # What is sent by itself, and what is not ours, exempts from nothing.
        for other in ("Basic YTpi", "Bearer eyJhbGciOiJIUzI1NiJ9", f"Bearer {token_of(browser)}"):
            assert (await browser.post("/page", headers={"Authorization": other, **foreign})).status_code == 403


async def test_cookies_that_cannot_be_read_count_as_none() -> None:
    """Review 19: the parser's tricks, two of the name, another spelling."""
    async with world() as w:
        browser = await w.signed_in()
        good = f"{COOKIE}={token_of(browser)}".encode()
        evil = f"{COOKIE}={(await w.authority.begin('mallory')).token}".encode()
        host = (b"host", b"localhost")
        for first, second in ((good, evil), (evil, good), (good, good), (good, good.replace(b"__Host", b"__host"))):
            for headers in (
                [host, (b"cookie", first + b"; " + second)],
                [host, (b"cookie", first), (b"cookie", second)],
            ):
                status, body = await ask(w.app, headers)
                assert status == 400
                assert b'"malformed"' in body
                status, body = await ask(w.app, headers, "/page")
                assert (status, body) == (200, b'{"principal":null}')
        for trick in (b"\x85", b"\xa0", b"\x1f"):
            status, body = await ask(w.app, [host, (b"cookie", good + b"; " + trick + evil)])
            assert status in (200, 400)
            assert b"mallory" not in body


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=60).map(lambda value: f"{COOKIE}=".encode() + value),
            st.text("0123456789abcXYZ", max_size=60).map(lambda value: f"{COOKIE}=slb_{value}".encode()),
            st.just(f"{COOKIE}=slb_".encode() + b"a" * 1_048_576),
        ),
        max_size=3,
    ),
    authorization=st.none() | st.binary(max_size=80) | st.binary(max_size=60).map(lambda value: b"Bearer slk_" + value),
)
async def test_junk_is_never_an_error_of_ours(values: list[bytes], authorization: bytes | None) -> None:
    async with world() as w:
        headers = [(b"host", b"localhost"), *((b"cookie", value) for value in values)]
        if authorization is not None:
            headers.append((b"authorization", authorization))
        status, body = await ask(w.app, headers)
        assert status in (400, 401)
        assert b'"reason"' in body
        assert (await ask(w.app, headers, "/page"))[0] == 200


async def test_a_store_that_is_away_is_no_logout(tmp_path: Path) -> None:
    """503 with Retry-After where a session is needed, pages for everybody go on, and the cookie stays."""
    home, away = tmp_path / "home", tmp_path / "away"
    home.mkdir()
    url = f"sqlite:///{home / 'sessile.db'}"
    async with Authority(url, policy=Policy.aal2()) as authority:
        token = (await authority.begin("alice", method="password")).token
    home.rename(away)
    authority = Authority(url)
    headers = {"Cookie": f"{COOKIE}={token}", "Sec-Fetch-Site": "same-origin"}
    app = application(authority)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, headers=headers) as browser:
        for method, path in (
            ("GET", "/private"),
            ("POST", "/logout"),
            ("POST", "/login?name=bob"),
            ("GET", "/data?a=1"),
        ):
            answer = await browser.request(method, path)
            assert (answer.status_code, answer.json()["reason"]) == (503, Reason.UNAVAILABLE), path
            assert int(answer.headers["retry-after"]) > 0
            assert not set_cookies(answer)
            assert "clear-site-data" not in answer.headers
        answer = await browser.get("/page")
        assert (answer.status_code, answer.json()) == (200, {"principal": None})
        assert not set_cookies(answer)
        away.rename(home)
        assert (await browser.get("/private")).json()["principal"] == "alice"
    await authority.close()


async def test_errors_of_the_package_are_answered_by_what_they_mean() -> None:
    async with world(policy=Policy.aal2(max_sessions=1, at_limit=AtLimit.REFUSE)) as w:
        browser = await w.signed_in()
        other = await w.browser().post("/login", params={"name": "alice"})
        assert (other.status_code, other.json()["title"]) == (409, "Limit reached")
        await w.authority.disable("alice", cause="offboarded")
        answer = await browser.post("/login", params={"name": "alice"})
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["reason"]) == (401, Reason.DISABLED)
        assert not set_cookies(answer)

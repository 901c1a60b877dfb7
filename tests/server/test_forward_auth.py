"""`/forward-auth`: what a reverse proxy is told (review 21)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from sessile import Method
from tests.server.conftest import COOKIE, MINUTE, World, is_problem, opened

REMOTE = ("Remote-User", "Remote-Session", "Remote-Assurance")
PAGE = {"Accept": "text/html", "X-Forwarded-Uri": "/app/list?page=2", "X-Forwarded-Method": "GET"}


def remote(answer: httpx.Response) -> tuple[str, ...]:
    """All three are there in every answer, or a client's own would pass."""
    assert "no-store" in answer.headers["cache-control"]
    return tuple(answer.headers[name] for name in REMOTE)


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[World]:
    """A server that believes the peer that asks, as a proxy."""
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path, stack, trusted_proxies=("127.0.0.1",))


async def test_a_session_passes(behind: World) -> None:
    client = await behind.signed_in("alice")
    session = (await client.get("/api/v1/session")).json()["id"]
    answer = await client.get("/forward-auth", headers={"Remote-User": "root", "Remote_User": "root"})
    assert (answer.status_code, answer.content, remote(answer)) == (200, b"", ("alice", session, "1"))


async def test_a_name_beyond_ascii_is_encoded(behind: World) -> None:
    client = await behind.signed_in("zoë%")
    assert remote(await client.get("/forward-auth"))[0] == "zo%C3%AB%25"


async def test_a_key_passes(behind: World) -> None:
    alice = await behind.signed_in("alice")
    key = (await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["read"]})).json()
    answer = await (await behind.bearing(key["token"])).get("/forward-auth")
    assert (answer.status_code, remote(answer)) == (200, ("service:ci", key["id"], "1"))


async def test_nobody_passes_without(behind: World) -> None:
    client = await behind.client()
    answer = await client.get("/forward-auth", headers={"Remote-User": "root", "X-Forwarded-User": "root"})
    is_problem(answer, 401, "missing", "sign_in")
    assert remote(answer) == ("", "", "")
    anonymous = await behind.holding(await behind.authority.begin(None))
    answer = await anonymous.get("/forward-auth")
    is_problem(answer, 401, "missing")
    assert remote(answer) == ("", "", "")


async def test_a_page_goes_to_sign_in_and_comes_back(behind: World) -> None:
    client = await behind.client()
    answer = await client.get("/forward-auth", headers=PAGE)
    assert (answer.status_code, answer.headers["location"], remote(answer)) == (302, "/login", ("", "", ""))
    assert client.cookies.get("__Host-return-sessile") == "/app/list%3Fpage%3D2"
    for headers in ({**PAGE, "X-Forwarded-Uri": "//evil.example"}, {**PAGE, "X-Forwarded-Uri": "https://evil.example"}):
        answer = await (await behind.client()).get("/forward-auth", headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (302, False)
    answer = await client.get(
        "/forward-auth", headers={**PAGE, "X-Forwarded-Method": "POST", "Origin": "https://localhost"}
    )
    is_problem(answer, 401, "missing")


@pytest.mark.requirement("ASVS V4.1.3")
async def test_forwarded_headers_are_believed_from_proxies_only(world: World) -> None:
    answer = await (await world.client()).get("/forward-auth", headers=PAGE)
    assert (answer.status_code, "set-cookie" in answer.headers) == (302, False)
    client = await world.signed_in("alice")
    foreign = {"X-Forwarded-Host": "evil.example", "Origin": "https://evil.example", "X-Forwarded-Method": "POST"}
    assert (await client.get("/forward-auth", headers=foreign)).status_code == 403


@pytest.mark.requirement("ASVS V3.5.1", "FM-2")
async def test_the_forwarded_method_is_judged(behind: World) -> None:
    client = await behind.signed_in("alice")
    for method, headers, status in [
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", {"Origin": "https://app.example", "X-Forwarded-Host": "app.example"}, 200),
        ("POST", {"Origin": "https://evil.example", "X-Forwarded-Host": "app.example"}, 403),
        ("BREW", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("get", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("DELETE", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 200),
    ]:
        answer = await client.get("/forward-auth", headers={"X-Forwarded-Method": method, **headers})
        assert answer.status_code == status, (method, headers)
        assert (remote(answer)[0] == "alice") is (status == 200)


async def test_the_end_is_seen_at_once(behind: World) -> None:
    client = await behind.signed_in("alice")
    assert (await client.get("/forward-auth")).status_code == 200
    await behind.authority.revoke(principal="alice", cause="test")
    answer = await client.get("/forward-auth")
    is_problem(answer, 401, "revoked", "sign_in")
    assert remote(answer) == ("", "", "")


async def test_no_token_is_rotated_where_nobody_would_get_it(behind: World) -> None:
    """Review 18d: proxies drop Set-Cookie of a 200."""
    client = await behind.signed_in("alice")
    behind.clock.advance(16 * MINUTE)
    assert "set-cookie" not in (await client.get("/forward-auth")).headers
    assert "set-cookie" in (await client.get("/api/v1/session")).headers


async def test_cookies_that_cannot_be_read_are_no_session(behind: World) -> None:
    """Proxies know 401 and 403: a 400 would be an error of theirs."""
    issued = await behind.authority.begin("alice", method=Method.PASSWORD)
    twice = f"{COOKIE}={issued.token}; {COOKIE}={issued.token}"
    answer = await (await behind.client(headers={"Cookie": twice})).get("/forward-auth")
    assert (answer.status_code, remote(answer)) == (401, ("", "", ""))

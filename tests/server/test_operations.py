"""Health, metrics, the API's description, headers on everything."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import BROWSER, World, is_problem, opened


async def test_health(world: World) -> None:
    client = await world.client()
    for path in ("/healthz", "/readyz"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_store_that_is_away_signs_nobody_out(world: World) -> None:
    client, page = await world.signed_in("alice"), await world.browser("bob")
    await world.authority.store.close()
    assert (await client.get("/healthz")).status_code == 200
    answer = await client.get("/readyz")
    is_problem(answer, 503, "unavailable", "retry")
    assert int(answer.headers["retry-after"]) > 0
    answer = await client.get("/api/v1/session")
    is_problem(answer, 503, "unavailable", "retry")
    assert "set-cookie" not in answer.headers
    answer = await page.get("/account")
    assert answer.status_code == 503
    assert "this is not a sign-out" in answer.text or "still signed in" in answer.text
    assert (await page.get("/login")).status_code == 503


async def test_metrics(world: World) -> None:
    alice = await world.signed_in("alice")
    await alice.post("/api/v1/keys", json={"owner": "service:ci", "scopes": ["r"]})
    await (await world.client()).get("/api/v1/session")
    answer = await alice.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = answer.text.splitlines()
    for line in (
        'sessile_sessions{kind="browser"} 1', 'sessile_sessions{kind="key"} 1', "sessile_principals 2",
        'sessile_checks_total{outcome="missing"} 1', 'sessile_checks_total{outcome="active"} 2',
    ):  # fmt: skip
        assert line in lines
    samples = [line for line in lines if not line.startswith("#")]
    assert all(len(line.rsplit(" ", 1)) == 2 and line.rsplit(" ", 1)[1].isdigit() for line in samples)
    assert "alice" not in answer.text


async def test_the_size_of_the_write_ahead_log_is_a_metric(world: World) -> None:
    """Review 6: it grows while a reader holds it, and nobody sees it otherwise."""
    client = await world.client()

    async def size() -> int:
        lines = (await client.get("/metrics")).text.splitlines()
        [line] = [line for line in lines if line.startswith("sessile_sqlite_log_bytes ")]
        return int(line.split()[1])

    before = await size()
    await world.person("alice")
    assert await size() > before
    assert await size() == (world.folder / "sessile.db-wal").stat().st_size


OPEN = {
    ("post", f"/api/v1/{rest}")
    for rest in (
        # Signing in, its second step, and coming back without it.
        "session", "session/passkey", "session/passkey/options", "session/step-up", "session/step-up/options",
        "password/forgot", "password/reset", "password/strength", "addresses/confirm", "parked",
        # What is presented is the right: a token that one holds, a report that is signed.
        "revoke", "token", "secret-scanning",
    )
}  # fmt: skip
"""What needs no session."""


async def test_the_description_of_the_api(world: World) -> None:
    client = await world.client()
    document: Any = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1.")
    assert set(document["components"]["securitySchemes"]) == {"session", "bearer"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert any(status.startswith("2") for status in operation["responses"])
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    # OAuth's own error object is the one other thing that a refusal may be.
                    oauth = ["application/json"] if (path, status) == ("/api/v1/token", "400") else []
                    said = list(response["content"])
                    assert said == ["application/problem+json", *oauth], (method, path, status)
            open_to_all = (method, path) in OPEN
            assert ("security" in operation) is not open_to_all, (method, path)
    page = await client.get("/docs")
    for path in document["paths"]:
        assert path in page.text


@pytest.mark.requirement("ASVS V3.4.1", "ASVS V3.4.4", "ASVS V3.4.8", "ASVS V3.5.8", "ASVS V14.3.2")
@pytest.mark.parametrize(
    "path",
    ["/", "/login", "/api/v1/session", "/healthz", "/metrics", "/nothing", "/static/sessile.css", "/forward-auth"],
)
async def test_headers_on_every_answer(world: World, path: str) -> None:
    for client in (await world.client(), await world.client(headers=BROWSER), await world.signed_in("alice")):
        for address, secure in (("https://localhost", True), ("http://localhost", False)):
            answer = await client.get(address + path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert ("strict-transport-security" in answer.headers) is secure
            assert "access-control-allow-origin" not in answer.headers
            caching = "public, max-age=600" if path.startswith("/static/") else "no-store"
            assert answer.headers["cache-control"] == caching


@pytest.mark.parametrize(
    "path", ["/", "/login", "/metrics", "/docs", "/healthz", "/api/v1/session", "/static/sessile.css"]
)
async def test_another_host_is_refused_first(world: World, path: str) -> None:
    """Review 22: DNS rebinding; metrics and documentation included."""
    client = await world.client()
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example", ""):
        answer = await client.get(path, headers={"Host": host})
        is_problem(answer, 421)
        assert "evil" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.requirement("ASVS V4.1.4")
@pytest.mark.parametrize(
    "path", ["/healthz", "/login", "/account", "/api/v1/session", "/api/v1/events", "/forward-auth"]
)
async def test_only_methods_that_are_supported(world: World, path: str) -> None:
    client = await world.signed_in("alice")
    for method in ("TRACE", "CONNECT", "PROPFIND", "OPTIONS"):
        answer = await client.request(method, path)
        is_problem(answer, 405)
        assert answer.headers["allow"]


async def test_what_breaks_is_answered_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        world = await opened(tmp_path, stack)

        @world.app.get("/break")
        async def broken() -> None:
            raise RuntimeError("slb_secret")

        client = await world.client()
        with caplog.at_level(logging.ERROR, "sessile"):
            answer = await client.get("/break")
            page = await client.get("/break", headers=BROWSER)
        is_problem(answer, 500)
        assert "slb_secret" not in answer.text + page.text
        assert "RuntimeError" in caplog.text
        assert (page.status_code, page.headers["content-type"]) == (500, "text/html; charset=utf-8")
        assert "Something broke on our side" in page.text
        assert page.headers["content-security-policy"] == answer.headers["content-security-policy"]

"""Sessions in FastAPI's words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from sessile import Authority, Session
from sessile.fastapi import RESPONSES, CurrentAccess, CurrentActive, CurrentSession, SessileMiddleware, require, step_up
from sessile.testing import ManualClock
from sessile.testing.client import sign_in_as

SENSITIVE = require(assurance=2, fresh=timedelta(minutes=5))


def make(authority: Authority) -> FastAPI:
    app = FastAPI(responses=RESPONSES)
    app.add_middleware(SessileMiddleware, authority=authority)

    @app.get("/me")
    async def me(session: CurrentSession) -> str | None:
        return session.principal

    @app.get("/page")
    async def page(access: CurrentAccess) -> str | None:
        return access.session.principal if access.session else None

    @app.post("/agents")
    async def agents(active: CurrentActive) -> list[str]:
        issued = await access_of(active, authority)
        return sorted(issued.scopes)

    @app.get("/sensitive", dependencies=[SENSITIVE])
    async def sensitive() -> None: ...

    @app.get("/also")
    async def also(session: Annotated[Session, Depends(require(assurance=2))]) -> str | None:
        return session.principal

    @app.get("/scoped", dependencies=[require(scopes={"deploy"})])
    def scoped() -> None: ...

    @app.post("/totp")
    async def totp(request: Request) -> int:
        return (await step_up(request, method="totp")).assurance

    @app.get("/count")
    def count(request: Request) -> int:
        request.session["n"] = request.session.get("n", 0) + 1
        return int(request.session["n"])

    return app


async def access_of(active: Any, authority: Authority) -> Session:
    return (await authority.delegate(active, to="agent:a", scopes=set())).active.session


@asynccontextmanager
async def client(
    url: str = "memory:", clock: ManualClock | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Authority]]:
    authority = Authority(url, clock=clock)
    transport = httpx.ASGITransport(make(authority))
    async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as found:
        yield found, authority
    await authority.close()


async def test_a_session_is_a_dependency() -> None:
    async with client() as (browser, authority):
        assert (await browser.get("/page")).json() is None
        assert (await browser.get("/me")).json()["reason"] == "missing"
        await sign_in_as(browser, authority, "alice")
        assert (await browser.get("/me")).json() == "alice"
        assert (await browser.get("/page")).json() == "alice"
        assert (await browser.post("/agents")).json() == []


@pytest.mark.requirement("800-207 T3")
async def test_require_says_what_is_missing() -> None:
    clock = ManualClock()
    async with client(clock=clock) as (browser, authority):
        await authority.register("alice", scopes={"read"})
        await sign_in_as(browser, authority, "alice")
        for path in ("/sensitive", "/also"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.json()["cure"]) == (401, "step_up")
        assert (await browser.get("/scoped")).status_code == 403
        assert (await browser.post("/totp")).json() == 2
        assert (await browser.get("/sensitive")).status_code == 200
        assert (await browser.get("/also")).json() == "alice"
        clock.advance(timedelta(minutes=5))
        assert (await browser.get("/sensitive")).json()["reason"] == "stale_authentication"


@pytest.mark.parametrize("url", ["memory:", "sqlite:///sessile.db"])
async def test_session_data_in_an_endpoint_that_runs_in_a_thread(
    url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with client(url) as (browser, authority):
        await sign_in_as(browser, authority, "alice")
        assert [(await browser.get("/count")).json() for _ in range(3)] == [1, 2, 3]


async def test_openapi_names_both_ways_to_present_a_session() -> None:
    async with client() as (browser, _):
        document = (await browser.get("/openapi.json")).json()
        schemes = document["components"]["securitySchemes"]
        assert (schemes["session"]["type"], schemes["session"]["in"]) == ("apiKey", "cookie")
        assert schemes["session"]["name"] == "__Host-sessile"
        assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
        for path, method in (("/me", "get"), ("/sensitive", "get"), ("/also", "get"), ("/agents", "post")):
            operation = document["paths"][path][method]
            assert operation["security"] == [{"session": []}, {"bearer": []}]
            assert {"401", "403", "503"} <= operation["responses"].keys()
            assert "application/problem+json" in operation["responses"]["401"]["content"]
            assert "parameters" not in operation
        assert "security" not in document["paths"]["/page"]["get"]


async def test_the_test_client_behaves_as_a_browser_that_signed_in() -> None:
    """Review 28: `sign_in_as`. A later answer of the application replaces its cookie."""
    clock = ManualClock()
    async with client(clock=clock) as (browser, authority):
        issued = await sign_in_as(browser, authority, "alice", method="passkey")
        assert issued.active.session.assurance == 2
        clock.advance(timedelta(minutes=15))
        assert (await browser.get("/me")).status_code == 200
        assert len(browser.cookies.jar) == 1
        assert (await browser.get("/me")).status_code == 200
        plain = httpx.AsyncClient(base_url="http://localhost")
        with pytest.raises(ValueError, match="https"):
            await sign_in_as(plain, authority, "alice")


@pytest.mark.parametrize("needed", [{"assurance": 4}, {"fresh": timedelta(0)}, {"scopes": "deploy"}, {"scopes": [""]}])
def test_a_demand_that_cannot_be_met_is_refused_when_it_is_written(needed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        require(**needed)

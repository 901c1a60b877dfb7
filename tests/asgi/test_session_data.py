"""Session data on a store that cannot be read without await: read before the application runs, if that looks at any."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from sessile import Authority
from sessile.asgi import SessileMiddleware
from tests.engines_redis import Server, server, valkey_binary

pytestmark = pytest.mark.anyio


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def count(request: Request) -> JSONResponse:
    request.session["n"] = request.session.get("n", 0) + 1
    return JSONResponse(request.session["n"])


def forget(engine: Server) -> None:
    assert engine.ask("SLOWLOG", "RESET").startswith("+OK")


def asked_for_data(engine: Server) -> int:
    """How often since then, as far as the engine's log of slow commands goes, which here are all."""
    return engine.ask("SLOWLOG", "GET", "128").count("data:ses_")


async def test_it_is_not_read_for_an_application_that_never_looks(tmp_path: Path) -> None:
    """A request whose session is in the near cache asks the engine nothing then. Whoever looks after all finds what
    there is, at once and from then on."""
    with server(valkey_binary(), tmp_path / "engine", "--slowlog-log-slower-than", "0") as engine:
        async with Authority(engine.url, directory=f"sqlite:///{tmp_path}/accounts.db") as authority:
            token = str((await authority.begin("alice", method="password")).token)

            def app() -> SessileMiddleware:
                routes = [Route("/", hello), Route("/count", count)]
                return SessileMiddleware(Starlette(routes=routes), authority, allowed_hosts=["test"])

            async with browser(app(), token) as looking:
                for n in (1, 2):
                    assert (await looking.get("/count")).json() == n
            async with browser(app(), token) as client:
                for _ in range(100):
                    assert (await client.get("/")).text == "hello"
                forget(engine)
                for _ in range(20):
                    assert (await client.get("/")).text == "hello"
                assert asked_for_data(engine) == 0
                for n in (3, 4):
                    assert (await client.get("/count")).json() == n
                forget(engine)
                assert (await client.get("/")).text == "hello"
                assert asked_for_data(engine) == 1, "by now it is read before"


def browser(app: SessileMiddleware, token: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="https://test", cookies={"__Host-sessile": token}
    )

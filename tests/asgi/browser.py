"""A browser as far as the middleware can tell: a cookie jar, and the headers that say where a request comes from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sessile import Authority, Policy
from sessile.starlette import SessileMiddleware, current, requires, sign_in, sign_out, step_up
from sessile.testing import ManualClock

MINUTE = timedelta(minutes=1)
COOKIE = "__Host-sessile"
ORIGIN = "https://localhost"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"


async def login(request: Request) -> Response:
    session = await sign_in(request, request.query_params["name"], method="password")
    return JSONResponse({"id": session.id})


async def logout(request: Request) -> Response:
    await sign_out(request)
    return Response(status_code=204)


async def totp(request: Request) -> Response:
    session = await step_up(request, method="totp")
    return JSONResponse({"assurance": session.assurance})


async def page(request: Request) -> Response:
    """A page for everybody."""
    session = current(request)
    return JSONResponse({"principal": session.principal if session else None})


async def plain(request: Request) -> Response:
    """Has not asked about the session."""
    return Response("plain")


@requires()
async def private(request: Request) -> Response:
    session = current(request)
    assert session is not None
    return JSONResponse({"principal": session.principal, "id": session.id})


@requires(assurance=2, fresh=timedelta(minutes=5))
async def sensitive(request: Request) -> Response:
    return JSONResponse({})


@requires(scopes={"deploy"})
async def deploy(request: Request) -> Response:
    return JSONResponse({})


async def data(request: Request) -> Response:
    for key, value in request.query_params.items():
        request.session[key] = value
    return JSONResponse(dict(request.session))


async def unchanged(request: Request) -> Response:
    return Response(status_code=304)


async def cached(request: Request) -> Response:
    current(request)
    return Response("x", headers={"Cache-Control": request.query_params.get("how", "public, max-age=600")})


def application(authority: Authority, *more: Route | WebSocketRoute, **settings: Any) -> Starlette:
    return Starlette(
        routes=[
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/totp", totp, methods=["POST"]),
            Route("/page", page, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            Route("/plain", plain),
            Route("/private", private),
            Route("/sensitive", sensitive),
            Route("/deploy", deploy),
            Route("/data", data),
            Route("/304", unchanged),
            Route("/cached", cached),
            *more,
        ],
        middleware=[Middleware(SessileMiddleware, authority=authority, **settings)],
    )


class World:
    """An application on a memory store, a clock moved by hand, and browsers."""

    def __init__(self, authority: Authority, clock: ManualClock, app: Any) -> None:
        self.authority = authority
        self.clock = clock
        self.app = app

    def browser(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=True),
            base_url=ORIGIN,
            headers={"User-Agent": AGENT, "Sec-Fetch-Site": "same-origin", **headers},
        )

    async def signed_in(self, name: str = "alice", **headers: str) -> httpx.AsyncClient:
        browser = self.browser(**headers)
        answer = await browser.post("/login", params={"name": name})
        assert answer.status_code == 200
        return browser


@asynccontextmanager
async def world(
    *more: Route | WebSocketRoute,
    policy: Policy | None = None,
    wrap: Callable[[Any], Any] | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    clock = ManualClock()
    authority = Authority("memory:", policy=policy or Policy.aal2(), clock=clock)
    app: Any = application(authority, *more, **settings)
    try:
        yield World(authority, clock, wrap(app) if wrap else app)
    finally:
        await authority.close()


def token_of(browser: httpx.AsyncClient) -> str | None:
    return browser.cookies.get(COOKIE)


def set_cookies(answer: httpx.Response) -> list[str]:
    return [value for value in answer.headers.get_list("set-cookie") if value.startswith(COOKIE)]


Streamer = Callable[[Request], Awaitable[StreamingResponse]]
Talk = Callable[[WebSocket], Awaitable[None]]

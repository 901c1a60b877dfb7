"""The same Starlette application, bare and behind each middleware. `SESSILE_BENCH_URL` names the store."""

from __future__ import annotations

import os
from typing import Any

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from bench.checks import claims
from sessile import Authority, Policy
from sessile.asgi import SessileMiddleware

COOKIE = "__Host-sessile"
SIGNING_KEY = "not a secret: " + "x" * 32

AnyApp = Any


async def _hello(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello, world\n")


_PAGE = Environment(autoescape=True).from_string(
    "<!doctype html><title>Keys</title><table>{% for row in rows %}<tr><td>{{ row.name }}<td>{{ row.owner }}"
    "<td>{{ row.used }}<td>{{ row.scopes | join(', ') }}</tr>{% endfor %}</table>"
)
_ROWS = [
    {"name": f"key {n}", "owner": f"service:{n % 7}", "used": f"{n} hours ago", "scopes": ["read", "write"]}
    for n in range(30)
]


async def _page(_request: Request) -> HTMLResponse:
    """What a console does all day: a table of thirty rows, from a template."""
    return HTMLResponse(_PAGE.render(rows=_ROWS))


async def _whoami(request: Request) -> PlainTextResponse:
    session = request.scope["sessile"].session
    return PlainTextResponse("nobody\n" if session is None else f"{session.principal}\n")


async def _remember(request: Request) -> PlainTextResponse:
    """Fill the peer's session as a sign-in would."""
    request.session.update(claims(1))
    return PlainTextResponse("remembered\n")


async def _read(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.session.get('sub', 'nobody')}\n")


def _app(*middleware: Middleware) -> Starlette:
    routes = [("/", _hello), ("/page", _page), ("/whoami", _whoami), ("/read", _read), ("/remember", _remember)]
    return Starlette(routes=[Route(path, endpoint) for path, endpoint in routes], middleware=list(middleware))


def bare() -> AnyApp:
    return _app()


class Wrapping:
    """The least that any middleware with a word in the answer does: wrap `send`, decide nothing."""

    def __init__(self, app: AnyApp) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def on(message: Any) -> None:
            await send(message)

        await self.app(scope, receive, on)


def wrapped() -> AnyApp:
    return _app(Middleware(Wrapping))


def sessile(url: str | None = None) -> AnyApp:
    authority = Authority(url or os.environ["SESSILE_BENCH_URL"], policy=Policy.aal1())
    app = _app(Middleware(SessileMiddleware, authority=authority))
    app.state.authority = authority
    return app


def sessile_in_memory() -> AnyApp:
    return sessile("memory:")


def signed_cookie() -> AnyApp:
    return _app(Middleware(SessionMiddleware, secret_key=SIGNING_KEY))


def starsessions() -> AnyApp:
    """Server-side sessions in this process's memory. Raises ImportError where it is not installed."""
    from starsessions import InMemoryStore, SessionAutoloadMiddleware
    from starsessions import SessionMiddleware as Starsessions

    return _app(
        Middleware(Starsessions, store=InMemoryStore(), lifetime=3600, cookie_https_only=False),
        Middleware(SessionAutoloadMiddleware),
    )

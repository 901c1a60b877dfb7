"""The application: `create_app(settings)`, or `from_environment` for worker processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from argon2 import PasswordHasher
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from sessile.asgi import Access, Live, SessileMiddleware
from sessile.clock import Clock
from sessile.errors import SessileError
from sessile.fastapi import RESPONSES
from sessile.server import api, forward_auth, operations, pages, problems
from sessile.server.guard import Bodies, Guard
from sessile.server.pages.render import broken, render_problem
from sessile.server.settings import ENVIRONMENT, Settings
from sessile.server.state import FOLDER, Server

STATIC: Final = "/static"
LIVE: Final = "/session"


def create_app(settings: Settings, *, clock: Clock | None = None, hasher: PasswordHasher | None = None) -> FastAPI:
    """The server as an ASGI application. Nothing is opened before its lifespan starts.

    `clock` and `hasher` (other parameters of Argon2) are for tests.

    Raises:
        ValueError: a setting does not fit.
    """
    server = Server(settings, clock=clock, hasher=hasher)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await server.open()
        store = server.authority.store
        writing = asyncio.create_task(server.denials.write_forever(store))
        try:
            yield
        finally:
            writing.cancel()
            with suppress(SessileError):
                await server.denials.write(store)
            await server.close()

    app = FastAPI(
        title="Sessile", version=operations.version(), description=operations.DESCRIPTION, lifespan=lifespan,
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        middleware=[
            Middleware(Guard, trusted=server.trusted, broken=broken),
            Middleware(
                SessileMiddleware, authority=server.authority, cookie=server.cookie, origins=settings.origins,
                allowed_hosts=settings.allowed_hosts, trusted_proxies=settings.trusted_proxies,
                device=server.device_binding,
            ),
            Middleware(Counting, server=server),
            Middleware(Bodies),
        ],
    )  # fmt: skip
    app.state.server = server
    problems.install(app, render_problem)
    app.include_router(api.router(), responses=RESPONSES)
    app.include_router(operations.router)
    app.include_router(forward_auth.router)
    app.include_router(pages.router())
    app.mount(STATIC, Static(directory=FOLDER / "static"))
    app.mount(LIVE, Live())
    app.openapi = lambda: operations.describe(app)  # type: ignore[method-assign]
    return app


def from_environment() -> FastAPI:
    """The application of a worker process: its settings are JSON in `SESSILE_SETTINGS`."""
    return create_app(Settings.from_json(os.environ[ENVIRONMENT]))


class Static(StaticFiles):
    """Style and marks: the same for everybody, so the one thing that may be cached."""

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        response = super().file_response(*arguments, **more)
        response.headers["cache-control"] = "public, max-age=600"
        return response


class Counting:
    """Counts requests by the outcome of their check, for `/metrics`."""

    def __init__(self, app: ASGIApp, *, server: Server) -> None:
        self._app = app
        self._checks = server.checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(STATIC):
            here: Access = scope["sessile"]
            result = here.result
            self._checks["active" if result else str(result.reason)] += 1
        await self._app(scope, receive, send)

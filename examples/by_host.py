"""A tenant is an authority: which one is chosen by the host of the request. Run it: `uvicorn by_host:app`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from sessile import Authority
from sessile.asgi import SessileMiddleware
from sessile.fastapi import CurrentSession

TENANTS = {
    "acme.example": Authority("sqlite:///acme.db"),
    "globex.example": Authority("sqlite:///globex.db"),
}


class ByHost:
    """Each tenant's own authority before the one application. A host that is nobody's is misdirected (421)."""

    def __init__(self, app: ASGIApp, tenants: Mapping[str, Authority]) -> None:
        self._app = app
        self._doors = {
            host: SessileMiddleware(app, authority, allowed_hosts=[host]) for host, authority in tenants.items()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").partition(":")[0].lower()
        door = self._doors.get(host) or next(iter(self._doors.values()))  # whose list of hosts refuses it
        await door(dict(scope), receive, send)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield  # each authority opens at the first request that needs it
    for authority in TENANTS.values():
        await authority.close()


app = FastAPI(lifespan=lifespan)
app.add_middleware(ByHost, tenants=TENANTS)


@app.get("/me")
async def me(session: CurrentSession) -> str | None:
    return session.principal

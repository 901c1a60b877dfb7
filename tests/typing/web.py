"""The types that an application sees of the middleware and its helpers; mypy reads this, nothing runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, assert_type

import httpx
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from sessile import Active, Authority, Client, Denied, Issued, Session
from sessile.asgi import Access, AccessDenied, CookieSpec, SessileMiddleware
from sessile.fastapi import CurrentAccess, CurrentActive, CurrentSession, require
from sessile.starlette import access, current, requires, sign_in, sign_out, step_up
from sessile.testing.client import sign_in_as

authority = Authority("memory:")
fast = FastAPI()
fast.add_middleware(SessileMiddleware, authority=authority)
fast.add_middleware(
    SessileMiddleware, authority=authority, cookie=CookieSpec(same_site="Strict"), origins=["https://a.b"]
)
slow = Starlette(middleware=[Middleware(SessileMiddleware, authority=authority, trusted_proxies=["10.0.0.0/8"])])
pure = SessileMiddleware(slow, authority)


@fast.get("/me", dependencies=[require(assurance=2, fresh=timedelta(minutes=5), scopes={"x"})])
async def me(session: CurrentSession, active: CurrentActive, here: CurrentAccess) -> None:
    assert_type(session, Session)
    assert_type(active, Active)
    assert_type(here, Access)
    assert_type(here.result, Active | Denied)
    assert_type(here.active, Active | None)
    assert_type(here.client, Client)
    assert_type(await here.require(assurance=1), Active)


@fast.get("/also")
async def also(session: Annotated[Session, Depends(require(scopes={"x"}))]) -> None:
    assert_type(session, Session)


@requires(assurance=2)
async def endpoint(request: Request) -> Response:
    assert_type(access(request), Access)
    assert_type(current(request), Session | None)
    async with authority.sign_in("alice") as attempt:
        assert_type(await sign_in(request, attempt, method="password"), Session)
    assert_type(await step_up(request, method="totp"), Session)
    await sign_out(request)
    return Response()


async def handler(request: Request, error: AccessDenied) -> Response:
    assert_type(error.denied, Denied)
    assert_type(await endpoint(request), Response)
    return Response()


async def test(client: httpx.AsyncClient) -> None:
    assert_type(await sign_in_as(client, authority, "alice"), Issued)

"""Sessions in Starlette's words, on `sessile.asgi.SessileMiddleware`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TypeVar, cast

from starlette.requests import HTTPConnection

from sessile.asgi import Access, AccessDenied, SessileMiddleware
from sessile.kernel.assurance import Method
from sessile.kernel.session import Session
from sessile.signing_in import SignIn
from sessile.web import signing
from sessile.web.access import requirement

__all__ = [
    "Access",
    "AccessDenied",
    "SessileMiddleware",
    "access",
    "current",
    "requires",
    "sign_in",
    "sign_out",
    "step_up",
]

Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[object]])


def access(request: HTTPConnection) -> Access:
    """What this request may do.

    Raises:
        RuntimeError: the application has no SessileMiddleware.
    """
    found = request.scope.get("sessile")
    if not isinstance(found, Access):
        raise RuntimeError(
            "no session here: app.add_middleware(SessileMiddleware, authority=Authority('sqlite:///sessile.db'))"
        )
    return found


def current(request: HTTPConnection) -> Session | None:
    """The live session of this request; None where there is none. An anonymous one has no `principal`."""
    return access(request).session


async def sign_in(request: HTTPConnection, who: str | SignIn, *, method: Method | str) -> Session:
    """Begin a session for a person who has just proved itself by `method`, and hand its token to the browser.

    The session that this browser held so far ends. Where your code looks at a password itself, do it inside a fence,
    so that a password changed or an account disabled meanwhile wins:

        async with authority.sign_in(name) as attempt:
            ...  # look at the credential
            await sign_in(request, attempt, method="password")

    Raises:
        Conflict: the principal is disabled, or its password changed meanwhile. LimitExceeded: too many sessions.
        ValueError: not a name or a method.
    """
    return await signing.sign_in(access(request), who, method=method)


async def step_up(request: HTTPConnection, *, method: Method | str) -> Session:
    """The person of this session has proved itself anew by `method`: assurance follows, and the token is new.

    Raises:
        AccessDenied: no person's session. Conflict: it is over. ValueError: not a method.
    """
    return await signing.step_up(access(request), method=method)


async def sign_out(request: HTTPConnection) -> None:
    """End this session and let the browser forget it. Raises as `Access.sign_out`."""
    await access(request).sign_out()


def requires(
    *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (), below_policy: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Let an endpoint run only for a person's, agent's or service's live session that meets all of this.

    See `Access.require`. The endpoint is an async function whose first argument is the request or WebSocket.
    """
    needed = requirement(assurance=assurance, fresh=fresh, scopes=scopes, below_policy=below_policy)

    def decorate(endpoint: Endpoint) -> Endpoint:
        @functools.wraps(endpoint)
        async def guarded(request: HTTPConnection, *args: object, **kwargs: object) -> object:
            await access(request).meet(needed)
            return await endpoint(request, *args, **kwargs)

        return cast(Endpoint, guarded)

    return decorate

"""Sessions in FastAPI's words: dependencies that yield the session, and say in OpenAPI what they demand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Security, params
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from sessile.asgi import Access, AccessDenied, SessileMiddleware
from sessile.kernel.decide import Active, Requirement
from sessile.kernel.session import Session
from sessile.starlette import access, sign_in, sign_out, step_up
from sessile.web.access import requirement

__all__ = [
    "RESPONSES",
    "Access",
    "AccessDenied",
    "CurrentAccess",
    "CurrentActive",
    "CurrentSession",
    "SessileMiddleware",
    "require",
    "sign_in",
    "sign_out",
    "step_up",
]


class _Scheme(SecurityBase):
    """Says in OpenAPI how a session is presented. The middleware has read it by then."""

    def __init__(self, name: str, model: APIKey | HTTPBearer) -> None:
        self.scheme_name = name
        self.model = model

    def __call__(self) -> None:
        return None


_COOKIE = _Scheme(
    "session",
    APIKey.model_validate(
        {"in": APIKeyIn.cookie, "name": "__Host-sessile", "description": "A browser's session, set at sign-in."}
    ),
)
_BEARER = _Scheme("bearer", HTTPBearer(description="An API key (`slk_…`) or a delegated token (`sld_…`)."))

_PROBLEM = {
    "application/problem+json": {
        "schema": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "reason": {"type": "string"},
                "cure": {"type": "string", "enum": ["sign_in", "step_up", "retry", "none"]},
            },
        }
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The session's cookie cannot be read", "content": _PROBLEM},
    401: {"description": "No session, or not enough of one: `reason` and `cure` say more", "content": _PROBLEM},
    403: {"description": "The session may not do that, or another site made the request", "content": _PROBLEM},
    503: {"description": "Sessions cannot be checked at the moment", "content": _PROBLEM},
}  # fmt: skip
"""What an operation with a session may answer: `APIRouter(responses=RESPONSES)`, `FastAPI(responses=RESPONSES)`."""


class _Require(params.Security):
    """A dependency, and the callable of one: both ways in which FastAPI users write it work."""

    def __init__(self, needed: Requirement) -> None:
        super().__init__(dependency=self.__call__)
        object.__setattr__(self, "_needed", needed)  # FastAPI's own class is frozen

    async def __call__(
        self, connection: HTTPConnection, _cookie: Annotated[None, Security(_COOKIE)],
        _bearer: Annotated[None, Security(_BEARER)],
    ) -> Session:  # fmt: skip
        return (await access(connection).meet(self._needed)).session

    # Its dependency is a method of its own: by identity, or each would ask the other for its hash.
    __eq__ = object.__eq__
    __hash__ = object.__hash__
    _needed: Requirement


def require(
    *, assurance: int = 0, fresh: timedelta | None = None, scopes: Iterable[str] = (), below_policy: bool = False
) -> Any:
    """A dependency that yields the `Session` if it meets all of this, and is answered as a problem otherwise.

    `@app.post("/deploy", dependencies=[require(assurance=2, fresh=timedelta(minutes=5), scopes={"deploy"})])`, or
    `session: Annotated[Session, require(scopes={"deploy"})]`. See `Access.require` for the arguments.
    """
    return _Require(requirement(assurance=assurance, fresh=fresh, scopes=scopes, below_policy=below_policy))


async def _active(connection: HTTPConnection, _session: Annotated[Session, require()]) -> Active:
    active = access(connection).active
    assert active is not None  # noqa: S101 - the session was demanded just before
    return active


CurrentSession = Annotated[Session, require()]
"""The live session of a person, an agent or a service; without one the answer is 401."""
CurrentActive = Annotated[Active, Depends(_active)]
"""The same as the proof that the authority's methods take: `authority.delegate(active, …)`."""
CurrentAccess = Annotated[Access, Depends(access)]
"""What the request may do, signed in or not."""

"""Every refusal: as problem details for programs, as a page or a redirect for browsers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sessile.errors import (
    SessileError,
)
from sessile.factors.links import LinkOver
from sessile.factors.passkey import PasskeyRefused, PasskeyUnusable
from sessile.factors.password import Busy, SignInFailed, WeakPassword
from sessile.factors.recovery import RecoveryRefused
from sessile.factors.reset import SecondProofNeeded
from sessile.factors.throttle import Throttled
from sessile.factors.totp import CodeRefused
from sessile.nhi.connector import ConnectorFailed
from sessile.server.wording import TEXTS
from sessile.web import access
from sessile.web.problem import RETRY_AFTER, TYPE_PREFIX, Problem, bearer_challenge, cross_site

Render = Callable[[Request, Problem], Awaitable[Response]]

_STATUS: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "media_type",
    429: "throttled",
}
_DETAIL: Final = {
    404: "There is nothing at this address.",
    405: "This address does not take that method; the Allow header lists those that it takes.",
    400: "The request could not be read.",
    429: "Too many of these from your network; the Retry-After header says when there may be another.",
}


class NotValid(Exception):
    """What was asked does not fit, as only the route could see; the message says why, and shows no secret."""


class FormRefused(Exception):
    """A form without the token of its session."""


class CrossSite(Exception):
    """A form that signs in, from who knows where; the message says why."""


def problem(status: int, title: str, detail: str, kind: str, *headers: tuple[bytes, bytes]) -> Problem:
    return Problem(status, title, detail, TYPE_PREFIX + kind, headers=headers)


def problem_of(error: Exception, *, bearer: bool = False) -> Problem:
    """The problem that says an error."""
    match error:
        case SignInFailed() | CodeRefused() | PasskeyRefused() | RecoveryRefused():
            return problem(401, "Sign-in failed", str(error).capitalize() + ".", "sign_in_failed", bearer_challenge())
        case PasskeyUnusable():
            return problem(422, "Passkey not accepted", str(error).capitalize() + ".", "passkey")
        case LinkOver():
            return problem(410, "Link over", str(error).capitalize() + ".", "link_over")
        case SecondProofNeeded():
            return problem(403, "Second proof needed", str(error).capitalize() + ".", "second_proof")
        case WeakPassword():
            return problem(422, "Password not accepted", str(error).capitalize() + ".", "password_rule")
        case Throttled():
            after = (b"retry-after", str(seconds_of(error)).encode())
            return problem(429, "Too many tries", str(error).capitalize() + ".", "throttled", after)
        case Busy():
            retry = (b"retry-after", str(RETRY_AFTER).encode())
            return problem(429, "Too many at once", str(error).capitalize() + ".", "throttled", retry)
        case CrossSite():
            return cross_site(str(error))
        case FormRefused():
            return problem(403, "Form refused", TEXTS.login.refused, "form")
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _http(error)
        case NotValid():
            return problem(422, "Not valid", _bounded(str(error)), "invalid")
        case ConnectorFailed():
            return problem(502, "Other system failed", _bounded(str(error), 400), "connector")
        case SessileError():
            return access.problem_of(error, bearer=bearer)
    raise error


def seconds_of(error: Throttled) -> int:
    """When to come back; a day where waiting alone does not help."""
    return 86_400 if error.wait is None else max(1, math.ceil(error.wait.total_seconds()))


def _invalid(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return problem(400, "Not JSON", "The body is not JSON that can be read.", "bad_request")
    # The input itself is not repeated: it may be a password, or a page of nonsense.
    said = "; ".join(f"{_place(one['loc'])}: {_bounded(one['msg'])}" for one in found[:8])
    return problem(422, "Not valid", said or "The request does not fit.", "invalid")


def _place(loc: Any) -> str:
    return _bounded(".".join(str(part) for part in loc), 60)


def _bounded(text: str, limit: int = 200) -> str:
    shown = text.encode("ascii", "replace").decode()
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _http(error: HTTPException) -> Problem:
    status = error.status_code
    headers = tuple((name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items())
    return Problem(
        status,
        HTTPStatus(status).phrase,
        _DETAIL.get(status, "The request was refused."),
        TYPE_PREFIX + _STATUS.get(status, "refused"),
        headers=headers,
    )


def respond(found: Problem) -> Response:
    response = Response(found.body(), found.status)
    response.raw_headers = [(b"content-length", str(len(response.body)).encode()), *found.response_headers()]
    return response


def wants_page(request: Request) -> bool:
    """Whether a person's browser asks for a page, and not a program for data."""
    return not request.scope["path"].startswith("/api/") and "text/html" in request.headers.get("accept", "")


def install(app: FastAPI, render: Render) -> None:
    """Answer every error of the routes. `render` makes the page for browsers."""

    async def handle(request: Request, error: Exception) -> Response:
        here = request.scope.get("sessile")
        found = problem_of(error, bearer=here is not None and here.bearer)
        if wants_page(request):
            return await render(request, found)
        return respond(found)

    for kind in (SessileError, CrossSite, FormRefused, NotValid, WeakPassword, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)

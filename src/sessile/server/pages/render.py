"""Pages: rendered, refused, redirected, and their forms read."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Final
from urllib.parse import quote, unquote, urlsplit

from fastapi import Depends, Request
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from sessile.kernel.decide import Active
from sessile.kernel.principal import OPERATOR
from sessile.kernel.reason import Cure, Reason
from sessile.server.access import SteppingUp
from sessile.server.pages.parking import park_form
from sessile.server.pages.typed import keep_typed, typed_before
from sessile.server.problems import FormRefused, respond, wants_page
from sessile.server.state import Server, server_of
from sessile.server.wording import TEXTS
from sessile.web import cookie as cookies
from sessile.web.access import Access
from sessile.web.cookie import CookieSpec
from sessile.web.csrf import check_form_token, form_token
from sessile.web.problem import Problem
from sessile.web.return_to import safe_path

LOGIN: Final = "/login"
STEP_UP: Final = "/account/step-up"
HOME: Final = "/account"
_RETURN_SECONDS: Final = 600
_RETRY_SECONDS: Final = 5
_IN_PATH: Final = "/-._~!$&'()*+,;=:@"
_INTERNAL: Final = Problem(500, "Internal error", TEXTS.problem.detail[500])


def page(
    request: Request, template: str, *, status: int = 200, active: Active | None = None, **context: Any
) -> HTMLResponse:
    """A page. Where somebody is signed in it says so, and its forms carry this session's token.

    `active`: the proof of a session that is below its policy's assurance, for the pages of the step-up.
    """
    server = server_of(request)
    here: Access | None = request.scope.get("sessile")
    if active is not None:
        # Here one proves oneself: open tabs say nothing over it.
        context.setdefault("proving", request.scope["path"])
    active = active or (None if here is None else here.active)
    if active is not None and active.session.principal is not None:
        context.setdefault("person", {"name": active.session.principal, "operator": OPERATOR in active.session.scopes})
        context.setdefault("form_token", form_token(server.key, active.session.id))
        context.setdefault("session_id", active.session.id)
    known = here is not None and request.method == "GET" and here.active is not None
    context.setdefault("typed", typed_before(here, _asked(request)) if here and known else {})
    return HTMLResponse(server.templates.get_template(template).render(context, status=status), status)


def go(path: str) -> RedirectResponse:
    """On to a page of this server, by GET."""
    return RedirectResponse(path, 303)


async def checked_form(request: Request, active: SteppingUp) -> FormData:
    """A form that was made for this session (63B-4 5.1). It may be below its policy's assurance: what the form does
    is demanded by its route.

    Raises:
        FormRefused: it was not.
    """
    form = await request.form()
    if not check_form_token(server_of(request).key, active.session.id, text(form, "form_token")):
        raise FormRefused
    return form


CheckedForm = Annotated[FormData, Depends(checked_form)]


def text(form: FormData, name: str) -> str:
    """A field, empty if it is not there or is a file."""
    found = form.get(name)
    return found if isinstance(found, str) else ""


def keep(response: Response, cookie: CookieSpec, value: str, seconds: int | None = None) -> None:
    name, header = cookie.set_header(value)
    limit = b"" if seconds is None else b"; Max-Age=%d" % seconds
    response.raw_headers.append((name, header + limit))


def drop(response: Response, *found: CookieSpec) -> None:
    response.raw_headers.extend(cookie.clear_header() for cookie in found)


def kept(request: Request, cookie: CookieSpec) -> str | None:
    value = cookies.read(request.scope["headers"], cookie.raw_name)
    return value.decode("latin-1") if isinstance(value, bytes) else None


def remember(server: Server, response: Response, path: str | None) -> None:
    """Keep where to go on after signing in: ten minutes, in a cookie of its own (decision 0004)."""
    safe = safe_path(path)
    if safe is not None and not safe.startswith((LOGIN, "/logout", STEP_UP)):
        keep(response, server.return_cookie, quote(safe, safe="/"), _RETURN_SECONDS)


def remembered(request: Request) -> str | None:
    """Where to go on. Checked again: a cookie comes from outside."""
    value = kept(request, server_of(request).return_cookie)
    return None if value is None else safe_path(unquote(value, errors="replace"))


async def render_problem(request: Request, problem: Problem) -> Response:
    """What a browser gets instead of a refusal: a page, or the way to the cure."""
    server = server_of(request)
    asked = _asked(request)
    # Not for cookies that cannot be read: signing in does not remove what is wrong with them.
    if problem.reason == Reason.DISABLED or (problem.cure == Cure.SIGN_IN and problem.reason != Reason.MALFORMED):
        response: Response = go(LOGIN)
        back = asked if request.method == "GET" else None
        if request.method == "POST":
            # What was typed waits for its person; the sign-in offers it.
            await park_form(request, request.scope["sessile"], referring(request))
        remember(server, response, back)
        return response
    if problem.cure == Cure.STEP_UP:
        # Back to the page that asked, or that had the form.
        response, back = go(STEP_UP), asked if request.method == "GET" else referring(request)
        remember(server, response, back)
        if request.method == "POST" and back is not None:
            await _keep_form(request, back)
        return response
    if problem.reason == Reason.SUPERSEDED and request.method == "GET" and kept(request, server.retry_cookie) is None:
        # The browser holds the new token by now. Once: a browser that does not would go round in circles.
        response = go(safe_path(asked) or HOME)
        keep(response, server.retry_cookie, "1", _RETRY_SECONDS)
        return response
    response = page(
        request, "problem.html", status=problem.status, detail=problem.detail, reason=problem.reason,
        cure=problem.cure, title=None if problem.status in TEXTS.problem.title else problem.title,
    )  # fmt: skip
    response.raw_headers.extend(problem.headers)
    return response


async def _keep_form(request: Request, path: str) -> None:
    """What was typed into the form that was refused comes back after the step-up: if it was a form of ours."""
    here: Access = request.scope["sessile"]
    if here.active is None:
        return
    with contextlib.suppress(FormRefused, HTTPException):
        keep_typed(here, path, dict(await checked_form(request, here.active)))


def referring(request: Request) -> str | None:
    """The page of this server that a form or a link was on; only its path counts, and a path is all that is kept."""
    found = urlsplit(request.headers.get("referer", ""))
    return found.path + (f"?{found.query}" if found.query else "")


def _asked(request: Request) -> str:
    """The path and query that were asked for, as they came; `Request.url` breaks on what is no UTF-8."""
    query: bytes = request.scope["query_string"]
    path = quote(request.scope["path"], safe=_IN_PATH)
    return path + (f"?{query.decode('latin-1')}" if query else "")


def broken(scope: Scope) -> Response:
    """The answer of a server that broke."""
    request = Request(scope)
    if not wants_page(request):
        return respond(_INTERNAL)
    return page(request, "problem.html", status=500)

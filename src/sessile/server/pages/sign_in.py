"""`/`, `/login`, `/logout`."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.factors.passkey import PasskeyRefused
from sessile.factors.password import Busy, SignInFailed
from sessile.factors.throttle import Throttled
from sessile.factors.two_steps import PreSession, method_of
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.kernel.reason import Reason
from sessile.receipt import Issued
from sessile.server.access import Ours
from sessile.server.device import keep_device, shown_device
from sessile.server.pages.codes import show_codes
from sessile.server.pages.render import HOME, LOGIN, checked_form, drop, go, page, remembered, text
from sessile.server.pages.why import why
from sessile.server.presession import (
    drop_second,
    keep_presession,
    keep_second,
    new_presession,
    shown_presession,
    shown_second,
)
from sessile.server.problems import CrossSite, seconds_of
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.web.access import Access, AccessDenied
from sessile.web.client import read_scheme
from sessile.web.csrf import OriginHeaders, check_form_token, form_token
from sessile.web.hosts import LOOPBACK, parse_host
from sessile.web.problem import RETRY_AFTER, bearer_challenge

router = APIRouter()

SIGNED_OUT = f"{LOGIN}?signed-out"
SECOND_STEP = f"{LOGIN}/second"


@router.get("/")
async def root() -> Response:
    return go(HOME)


@router.get("/login")
async def show_login(request: Request, server: Ours, here: CurrentAccess) -> Response:
    """The form, and why one landed here."""
    result = here.result
    if isinstance(result, Active) and result.session.uid is not None:
        return _on(request, server)
    notice, tone = None, "info"
    if isinstance(result, Active) or result.reason is Reason.MISSING:
        if "signed-out" in request.query_params:
            notice, tone = TEXTS.landing.signed_out, "success"
        elif remembered(request) is not None:
            notice = TEXTS.landing.sign_in
    elif result.reason is Reason.UNAVAILABLE:
        raise AccessDenied(result)
    elif result.reason is not Reason.SUPERSEDED:
        notice, tone = await why(server, result), "warn"
    return _form(request, server, notice=notice, notice_tone=tone)


@router.post("/login")
async def sign_in(request: Request, server: Ours, here: CurrentAccess) -> Response:
    """Sign in by form. The browser must say where the form comes from, and that it was given it (review 23)."""
    form = await _login_form(request, server)
    username = text(form, "username")[:256]
    if not _own_form(request, server, text(form, "form_token")):
        return _form(request, server, status=403, error=TEXTS.login.refused, username=username)
    try:
        begun = await server.two_steps.begin(
            username, text(form, "password"), client=here.client, replaces=await here.replaceable(),
            device=shown_device(request, server), resumes=await here.idled(),
        )  # fmt: skip
    except SignInFailed:
        return _failed(_form(request, server, status=401, error=TEXTS.login.wrong, username=username))
    except (Busy, Throttled) as error:
        return throttled(_form(request, server, status=429, error=wait(error), username=username), error)
    if isinstance(begun, PreSession):
        response: Response = go(SECOND_STEP)
        keep_second(response, server, begun)
        return response
    return await _signed_in(request, server, here, begun)


@router.get("/login/second")
async def ask_second(request: Request, server: Ours) -> Response:
    """The second step, asked of everybody alike, whether the first one was right or wrong."""
    if shown_second(request, server) is None:
        return go(LOGIN)
    return _form(request, server, "login_second.html")


@router.post("/login/second")
async def finish(request: Request, server: Ours, here: CurrentAccess) -> Response:
    """Both steps were right, or the sign-in begins anew."""
    form = await _login_form(request, server)
    shown, code = shown_second(request, server), text(form, "code")[:64]
    if shown is None:
        return go(LOGIN)
    if not _own_form(request, server, text(form, "form_token")):
        return _form(request, server, "login_second.html", status=403, error=TEXTS.login.refused)
    try:
        finished = await server.two_steps.finish(
            shown, method_of(code), code, client=here.client, replaces=await here.replaceable()
        )
    except SignInFailed:
        username = server.two_steps.name(shown)
        response = _failed(_form(request, server, status=401, error=TEXTS.second.wrong, username=username))
        drop_second(response, server)
        return response
    return await _signed_in(request, server, here, finished.issued, finished.replacement)


@router.post("/login/passkey")
async def sign_in_by_passkey(request: Request, server: Ours, here: CurrentAccess) -> Response:
    """Sign in by a passkey, which the page's script asked the browser for. No name is needed."""
    form = await _login_form(request, server)
    browser = shown_presession(request, server)
    if browser is None or not _own_form(request, server, text(form, "form_token")):
        return _form(request, server, status=403, error=TEXTS.login.refused)
    try:
        issued = await server.passkeys.sign_in(
            credential_of(form), browser, client=here.client, replaces=await here.replaceable(),
            device=shown_device(request, server),
        )  # fmt: skip
    except PasskeyRefused:
        return _failed(_form(request, server, status=401, passkey_error=TEXTS.passkey.refused))
    except Throttled as error:
        return throttled(_form(request, server, status=429, passkey_error=wait(error)), error)
    if (shown := shown_second(request, server)) is not None:
        await server.two_steps.settle(shown, issued)
    return await _signed_in(request, server, here, issued)


async def _signed_in(request: Request, server: Server, here: Access, issued: Issued, replacement: str = "") -> Response:
    here.sign_in(issued)
    response = await _on_or_waiting(request, server, issued.active)
    if replacement:
        onward = response
        response = show_codes(
            request, issued.active, [replacement], onward.headers["location"], replacement=True
        )  # fmt: skip
        response.raw_headers.extend(pair for pair in onward.raw_headers if pair[0] == b"set-cookie")
    await keep_device(request, response, server, issued)
    if shown_second(request, server) is not None:
        drop_second(response, server)
    return response


def _failed(response: Response) -> Response:
    response.raw_headers.append(bearer_challenge())
    return response


@router.get("/logout")
async def ask_logout(request: Request, here: CurrentAccess) -> Response:
    """A form, since a GET changes nothing."""
    if not here.active:
        return go(LOGIN)
    return page(request, "logout.html")


@router.post("/logout")
async def sign_out(request: Request, here: CurrentAccess) -> Response:
    """Sign out. A session that is over already needs no form token: only the cookie is left to remove."""
    if here.active is not None:
        await checked_form(request, here.active)
    await here.sign_out()
    return go(SIGNED_OUT)


def wait(error: Busy | Throttled) -> str:
    """What a person is told who has to wait."""
    if isinstance(error, Throttled) and error.wait is None:
        return TEXTS.login.off
    return TEXTS.login.throttled.format(wait=TEXTS.wait(timedelta(seconds=_after(error))))


def throttled(response: Response, error: Busy | Throttled) -> Response:
    response.headers["retry-after"] = str(_after(error))
    return response


def _after(error: Busy | Throttled) -> int:
    return seconds_of(error) if isinstance(error, Throttled) else RETRY_AFTER


def credential_of(form: FormData) -> dict[str, Any]:
    """The passkey's answer that the script put into the form; empty without script."""
    try:
        found = json.loads(text(form, "credential"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _on(request: Request, server: Server) -> Response:
    response = go(remembered(request) or HOME)
    drop(response, server.return_cookie, server.form_cookie)
    return response


async def _on_or_waiting(request: Request, server: Server, active: Active) -> Response:
    """Where one was going; or, if a timeout interrupted something, to that first."""
    if not await server.authority.parked(active):
        return _on(request, server)
    response = go(f"{HOME}/waiting")
    drop(response, server.form_cookie)
    return response


async def _login_form(request: Request, server: Server) -> FormData:
    """A form that signs in. The browser must say where it comes from (review 23). Raises CrossSite."""
    verdict = server.origins.judge("POST", OriginHeaders.of(request.scope["headers"]), strict=True)
    if not verdict:
        raise CrossSite(verdict.reason)
    return await request.form()


def _form(
    request: Request, server: Server, template: str = "login.html", *, status: int = 200, **context: Any
) -> Response:  # fmt: skip
    shown = shown_presession(request, server)
    pre = shown or new_presession()
    demo = server.settings.demo
    response = page(
        request, template, status=status, person=None, form_token=form_token(server.key, _LABEL + pre),
        insecure=_insecure(request, server), demo_people=demo.people if demo is not None else None, **context,
    )  # fmt: skip
    if shown is None:
        keep_presession(response, server, pre)
    return response


_LABEL = "login "


def _own_form(request: Request, server: Server, presented: str) -> bool:
    pre = shown_presession(request, server)
    return pre is not None and check_form_token(server.key, _LABEL + pre, presented)


def _insecure(request: Request, server: Server) -> bool:
    """Whether a browser would not keep the cookie: plain http, and not this machine."""
    host = parse_host(request.headers.get("host", ""))
    return read_scheme(request.scope, server.trusted) == "http" and (host is None or host.name not in LOOPBACK)

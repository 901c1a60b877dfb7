"""`/forgot`, `/reset`: a new password for those who forgot theirs; `/confirm`: an address, by a link.

A link's secret is taken off the address at once and kept in a cookie: what is shown, logged or sent on as a referrer
afterwards is a path without it. Following the link changes nothing, as programs do that look at mails: a form does.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.errors import NotFound
from sessile.factors.links import LinkOver
from sessile.factors.password import MAXIMUM, Busy, WeakPassword
from sessile.factors.reset import SecondProofNeeded
from sessile.factors.throttle import Throttled
from sessile.fastapi import CurrentAccess
from sessile.kernel.assurance import Method
from sessile.kernel.principal import Principal
from sessile.server.access import Ours
from sessile.server.pages.account import rule
from sessile.server.pages.render import drop, go, keep, kept, page, text
from sessile.server.pages.sign_in import throttled, wait
from sessile.server.problems import CrossSite, FormRefused
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.web.access import Access
from sessile.web.cookie import CookieSpec
from sessile.web.csrf import OriginHeaders, check_form_token, form_token

router = APIRouter()

FORGOT: Final = "/forgot"
RESET: Final = "/reset"
CONFIRM: Final = "/confirm"
_SECONDS: Final = 900
_CODES: Final = (Method.TOTP, Method.RECOVERY_CODE)
Secret = Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9_.-]+$")]


@router.get(FORGOT)
async def ask(request: Request, server: Ours) -> Response:
    if server.settings.mail is None:
        return _forgot(request, "no_mail")
    return _forgot(request, "sent" if "sent" in request.query_params else "ask")


@router.post(FORGOT)
async def send(request: Request, server: Ours, here: CurrentAccess) -> Response:
    """The same answer for everybody, known or not."""
    _from_here(request, server)
    if server.settings.mail is None:
        return _forgot(request, "no_mail")
    named = text(await request.form(), "username")[:256]
    try:
        await server.reset.ask(named, client=here.client)
    except Throttled as error:
        return throttled(_forgot(request, "ask", status=429, error=wait(error), username=named), error)
    return go(f"{FORGOT}?sent")


@router.get(f"{RESET}/{{secret}}")
async def follow(secret: Secret, server: Ours) -> Response:
    return _kept_aside(RESET, server.reset_cookie, secret)


@router.get(RESET)
async def ask_password(request: Request, server: Ours) -> Response:
    try:
        return await _reset_form(request, server, kept(request, server.reset_cookie) or "")
    except LinkOver:
        return _over(request, server)


@router.post(RESET)
async def set_password(request: Request, server: Ours, here: CurrentAccess) -> Response:
    secret, form = await _form(request, server, server.reset_cookie)
    new, code = text(form, "new"), text(form, "code")[:64]
    try:
        if new != text(form, "again"):
            return await _reset_form(request, server, secret, status=422, errors={"again": TEXTS.password.differ})
        redeemed = await server.reset.redeem(secret, new, code=code, active=here.active, client=here.client)
    except LinkOver:
        return _over(request, server)
    except WeakPassword as error:
        return await _reset_form(request, server, secret, status=422, error=error)
    except SecondProofNeeded:
        said = TEXTS.recovery.code_wrong if code else TEXTS.recovery.code_missing
        return await _reset_form(request, server, secret, status=422, errors={"code": said})
    except (Busy, Throttled) as error:
        field = "code" if code else "new"
        return throttled(await _reset_form(request, server, secret, status=429, errors={field: wait(error)}), error)
    response = page(
        request, "reset.html", state="done", person=None, replacement=redeemed.proved.replacement, errors={}
    )  # fmt: skip
    drop(response, server.reset_cookie)
    return response


@router.get(f"{CONFIRM}/{{secret}}")
async def follow_confirm(secret: Secret, server: Ours) -> Response:
    return _kept_aside(CONFIRM, server.confirm_cookie, secret)


@router.get(CONFIRM)
async def ask_confirm(request: Request, server: Ours, here: CurrentAccess) -> Response:
    secret = kept(request, server.confirm_cookie) or ""
    try:
        found = await server.addresses.to_confirm(secret, client=here.client)
    except (LinkOver, NotFound):
        return _confirm_over(request, server)
    return page(
        request, "confirm_address.html", state="ask", address=found.address,
        form_token=form_token(server.key, CONFIRM + secret),
    )  # fmt: skip


@router.post(CONFIRM)
async def confirm(request: Request, server: Ours, here: CurrentAccess) -> Response:
    secret, _ = await _form(request, server, server.confirm_cookie)
    try:
        found = await server.addresses.confirm(secret, client=here.client)
    except (LinkOver, NotFound):
        return _confirm_over(request, server)
    response = page(request, "confirm_address.html", state="done", address=found.address)
    drop(response, server.confirm_cookie)
    return response


def _from_here(request: Request, server: Server) -> None:
    """Raises CrossSite: the browser does not say that the form is ours."""
    verdict = server.origins.judge("POST", OriginHeaders.of(request.scope["headers"]), strict=True)
    if not verdict:
        raise CrossSite(verdict.reason)


def _kept_aside(path: str, cookie: CookieSpec, secret: str) -> Response:
    response = go(path)
    keep(response, cookie, secret, _SECONDS)
    response.headers["referrer-policy"] = "no-referrer"
    return response


async def _form(request: Request, server: Server, cookie: CookieSpec) -> tuple[str, FormData]:
    """The secret that this browser keeps, and a form that was made for it. Raises CrossSite, FormRefused."""
    _from_here(request, server)
    secret, form = kept(request, cookie) or "", await request.form()
    path = RESET if cookie is server.reset_cookie else CONFIRM
    if not check_form_token(server.key, path + secret, text(form, "form_token")):
        raise FormRefused
    return secret, form


async def _reset_form(
    request: Request, server: Server, secret: str, *, status: int = 200, error: WeakPassword | None = None,
    errors: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    """Raises LinkOver."""
    here: Access = request.scope["sessile"]
    principal, methods = await server.reset.look(secret, here.active, client=here.client)
    minimum = await server.passwords.minimum(principal)
    found = errors or ({} if error is None else {"new": rule(error, minimum)})
    return page(
        request, "reset.html", status=status, state="set", person=None, name=principal.name, errors=found,
        needs=await _needs(server, principal, methods), minimum=minimum, maximum=MAXIMUM,
        form_token=form_token(server.key, RESET + secret),
    )  # fmt: skip


async def _needs(server: Server, principal: Principal, methods: list[Method]) -> str:
    if not methods:
        return ""
    codes = await server.authority.store.credential(principal.uid, Method.RECOVERY_CODE)
    return "code" if codes is not None or any(one in _CODES for one in methods) else "passkey"


def _forgot(request: Request, state: str, *, status: int = 200, **context: Any) -> Response:
    return page(request, "forgot.html", status=status, state=state, **context)


def _over(request: Request, server: Server) -> Response:
    response = page(request, "reset.html", status=410, state="over", errors={})
    drop(response, server.reset_cookie)
    return response


def _confirm_over(request: Request, server: Server) -> Response:
    response = page(request, "confirm_address.html", status=410, state="over")
    drop(response, server.confirm_cookie)
    return response

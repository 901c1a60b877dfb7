"""`/account/factors`: an authenticator app added, a factor renamed or removed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from sessile.errors import NotFound
from sessile.factors.enrolled import LONGEST_NAME, Factor
from sessile.factors.passkey import PasskeyUnusable
from sessile.factors.throttle import Throttled
from sessile.factors.totp import CodeRefused, Enrolment
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.server.access import FactorPath, Ours, Person, SteppingUp
from sessile.server.ending import end_others
from sessile.server.pages.render import HOME, CheckedForm, go, page, text
from sessile.server.pages.sign_in import credential_of, throttled, wait
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.web.access import Access

router = APIRouter(prefix=f"{HOME}/factors")


@router.get("/totp")
async def ask_totp(request: Request, server: Ours, active: SteppingUp) -> Response:
    await server.factors.may_change(active)
    return _begin_form(request, active)


@router.post("/totp")
async def begin_totp(request: Request, server: Ours, active: SteppingUp, form: CheckedForm) -> Response:
    try:
        enrolment = await server.totp.enrol(active, name=text(form, "name"))
    except ValueError:
        said = TEXTS.factors.name_wrong.format(maximum=LONGEST_NAME)
        return _begin_form(request, active, status=422, errors={"name": said}, name=text(form, "name")[:LONGEST_NAME])
    return go(f"{HOME}/factors/totp/{enrolment.factor.id}")


@router.get("/totp/{id}")
async def show_totp(id: FactorPath, request: Request, server: Ours, active: SteppingUp) -> Response:
    return _enrolment(request, active, await server.totp.pending(active, id))


@router.post("/totp/{id}")
async def confirm_totp(
    id: FactorPath, request: Request, server: Ours, active: SteppingUp, here: CurrentAccess, form: CheckedForm
) -> Response:
    try:
        issued = await server.totp.confirm(active, id, text(form, "code")[:64], client=here.client)
    except CodeRefused:
        errors = {"code": TEXTS.step_up.wrong_code}
        return _enrolment(request, active, await server.totp.pending(active, id), status=422, errors=errors)
    except Throttled as error:
        again = await server.totp.pending(active, id)
        return throttled(_enrolment(request, active, again, status=429, errors={"code": wait(error)}), error)
    here.sign_in(issued)
    return await _done(server, here, issued.active, form.get("end_others") == "yes", TEXTS.factors.added)


@router.get("/passkey")
async def ask_passkey(request: Request, server: Ours, active: SteppingUp) -> Response:
    await server.factors.may_change(active)
    return _passkey_form(request, active)


@router.post("/passkey")
async def add_passkey(
    request: Request, server: Ours, active: SteppingUp, here: CurrentAccess, form: CheckedForm
) -> Response:
    name = text(form, "name")
    try:
        await server.passkeys.register(active, credential_of(form), name=name, client=here.client)
    except PasskeyUnusable as error:
        return _passkey_form(request, active, status=422, error=str(error).capitalize() + ".", name=name[:LONGEST_NAME])
    except ValueError:
        said = TEXTS.factors.name_wrong.format(maximum=LONGEST_NAME)
        return _passkey_form(request, active, status=422, errors={"name": said}, name=name[:LONGEST_NAME])
    return await _done(server, here, active, form.get("end_others") == "yes", TEXTS.passkey.added)


@router.get("/{id}")
async def show(id: FactorPath, request: Request, server: Ours, active: Person) -> Response:
    await server.factors.may_change(active)
    return _factor(request, server, await _own(server, active, id))


@router.post("/{id}")
async def change(
    id: FactorPath, request: Request, server: Ours, active: Person, here: CurrentAccess, form: CheckedForm
) -> Response:
    if form.get("do") == "remove":
        await server.factors.remove(active, id, client=here.client)
        return await _done(server, here, active, form.get("end_others") == "yes", TEXTS.factors.removed)
    try:
        await server.factors.rename(active, id, text(form, "name"), client=here.client)
    except ValueError:
        said = TEXTS.factors.name_wrong.format(maximum=LONGEST_NAME)
        return _factor(request, server, await _own(server, active, id), status=422, errors={"name": said})
    here.data["notice"] = TEXTS.factors.renamed
    return go(HOME)


async def _own(server: Server, active: Active, id: str) -> Factor:
    for factor in await server.factors.of(active.session.uid or ""):
        if factor.id == id:
            return factor
    raise NotFound("you have no such factor")


async def _done(server: Server, here: Access, active: Active, others: bool, said: str) -> Response:
    if others:
        receipt = await end_others(server, active)
        if receipt.revoked:
            count = TEXTS.count(receipt.revoked, "session")
            said += " " + TEXTS.account.ended_others.format(count=count, when=TEXTS.instant(receipt.effective))
    here.data["notice"] = said
    return go(HOME)


def _passkey_form(request: Request, active: Active, *, status: int = 200, **context: Any) -> Response:
    return page(request, "passkey_add.html", status=status, active=active, longest=LONGEST_NAME, **context)


def _begin_form(request: Request, active: Active, *, status: int = 200, **context: Any) -> Response:
    return page(request, "totp_begin.html", status=status, active=active, longest=LONGEST_NAME, **context)


def _enrolment(
    request: Request, active: Active, enrolment: Enrolment, *, status: int = 200, **context: Any
) -> Response:
    secret = " ".join(enrolment.secret[at : at + 4] for at in range(0, len(enrolment.secret), 4))
    return page(
        request, "totp_confirm.html", status=status, active=active, id=enrolment.factor.id, secret=secret,
        # Our own drawing: squares, and nothing of it is text from outside.
        picture=Markup(enrolment.svg()), **context,  # noqa: S704
    )  # fmt: skip


def _factor(request: Request, server: Server, factor: Factor, *, status: int = 200, **context: Any) -> Response:
    return page(request, "factor.html", status=status, factor=factor, longest=LONGEST_NAME, now=server.now(), **context)

"""`/account`: one's own sessions and password."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from sessile.errors import NotFound
from sessile.factors.password import MAXIMUM, Busy, SignInFailed, WeakPassword
from sessile.factors.throttle import Throttled
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active, demand
from sessile.kernel.session import SessionInfo, SessionKind
from sessile.receipt import Receipt
from sessile.server.access import FRESH, Ours, Person, SessionPath
from sessile.server.api.devices import DevicePath
from sessile.server.device import shown_device
from sessile.server.ending import ENDED_BY_ONESELF, end_others, own_session
from sessile.server.pages.render import HOME, CheckedForm, go, page, text
from sessile.server.pages.sign_in import SIGNED_OUT, throttled, wait
from sessile.server.pages.step_up import step_up_first
from sessile.server.state import Server
from sessile.server.waiting import asked_of
from sessile.server.wording import TEXTS

router = APIRouter(prefix=HOME)

EVENTS: Final = 12
_SHOWN: Final = 200


@router.get("")
async def show(request: Request, server: Ours, active: Person, here: CurrentAccess) -> Response:
    session, store = active.session, server.authority.store
    own = (await store.sessions(uid=session.uid, limit=_SHOWN)).items
    given = (await store.sessions(giver=session.uid, limit=_SHOWN)).items
    browsers = [info for info in own if info.kind is SessionKind.BROWSER]
    others = [info for info in own if info.kind is not SessionKind.BROWSER and all(info.id != g.id for g in given)]
    return page(
        request, "account.html", now=server.now(), current=session.id,
        sessions=sorted(browsers, key=lambda info: info.id != session.id), handed_out=[*given, *others],
        events=await store.events(uid=session.uid, latest=True, limit=EVENTS), fresh=_fresh(server, active),
        factors=await server.factors.of(session.uid or ""), addresses=await server.addresses.of(session.uid or ""),
        codes=await server.recovery_codes.of(session.uid or ""), notice=here.data.pop("notice", None),
        devices=await server.devices.of(session.uid or ""),
        this_device=await server.devices.known(shown_device(request, server), session.uid or ""),
        waiting=len(await server.authority.parked(active)) + len(await asked_of(server, active)),
    )  # fmt: skip


@router.post("/sessions/end-others")
async def end_all_others(
    request: Request, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm
) -> Response:
    if not _fresh(server, active):
        return step_up_first(request, here, TEXTS.step_up.for_end_others, HOME)
    receipt = await end_others(server, active)
    here.data["notice"] = _said(server, TEXTS.account.ended_others, receipt)
    return go(HOME)


@router.post("/sessions/{id}/end")
async def end_one(
    id: SessionPath, request: Request, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm
) -> Response:
    if id == active.session.id:
        await here.sign_out()
        return go(SIGNED_OUT)
    if not _fresh(server, active):
        return step_up_first(request, here, TEXTS.step_up.for_end_session, HOME)
    info: SessionInfo = await own_session(server, active, id)
    receipt = await server.authority.revoke(session=info.id, cause=ENDED_BY_ONESELF, by=active)
    here.data["notice"] = _said(server, TEXTS.account.ended, receipt)
    return go(HOME)


@router.post("/devices/{id}/forget")
async def forget_device(
    id: DevicePath, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm
) -> Response:  # fmt: skip
    try:
        await server.devices.forget(active, id)
    except NotFound:
        here.data["notice"] = TEXTS.devices.gone
    else:
        here.data["notice"] = TEXTS.devices.forgotten
    return go(HOME)


@router.get("/password")
async def ask_password(request: Request, server: Ours, active: Person) -> Response:
    return await _password_form(request, server, active)


@router.post("/password")
async def change_password(
    request: Request, server: Ours, active: Person, here: CurrentAccess, form: CheckedForm
) -> Response:
    current, new = text(form, "current"), text(form, "new")
    if new != text(form, "again"):
        return await _password_form(request, server, active, status=422, errors={"again": TEXTS.password.differ})
    before = await server.authority.store.sessions(uid=active.session.uid, limit=_SHOWN)
    try:
        issued = await server.passwords.change(active, current, new, client=here.client)
    except SignInFailed:
        return await _password_form(request, server, active, status=422, errors={"current": TEXTS.password.wrong})
    except WeakPassword as error:
        return await _password_form(request, server, active, status=422, error=error)
    except (Busy, Throttled) as error:
        found = await _password_form(request, server, active, status=429, errors={"current": wait(error)})
        return throttled(found, error)
    here.sign_in(issued)
    here.data["notice"] = TEXTS.account.password_changed.format(count=TEXTS.count(len(before) - 1, "session"))
    return go(HOME)


def _fresh(server: Server, active: Active) -> bool:
    return demand(active.session, FRESH, server.now()) is None


def _said(server: Server, sentence: str, receipt: Receipt) -> str:
    count = TEXTS.count(receipt.revoked or 0, "session")
    return sentence.format(count=count, when=TEXTS.instant(receipt.effective))


def rule(error: WeakPassword, minimum: int) -> str:
    """Which rule a new password breaks, in a sentence."""
    sentence: str = getattr(TEXTS.password, error.rule)
    return sentence.format(length=error.length, minimum=minimum, maximum=MAXIMUM)


async def _password_form(
    request: Request, server: Server, active: Active, *, status: int = 200, error: WeakPassword | None = None,
    errors: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    minimum = await server.passwords.minimum(await server.authority.store.principal(uid=active.session.uid))
    found = errors or ({} if error is None else {"new": rule(error, minimum)})
    return page(request, "password.html", status=status, minimum=minimum, maximum=MAXIMUM, errors=found)

"""`/account/waiting`: work that a timeout interrupted, and what others ask one to approve."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from sessile.errors import Conflict, NotFound, Refused
from sessile.fastapi import CurrentAccess
from sessile.kernel.reason import Cure
from sessile.kernel.work import Work
from sessile.server.access import Ours, Person
from sessile.server.pages.parking import FORM, Form, park_form
from sessile.server.pages.render import HOME, CheckedForm, go, page, remembered
from sessile.server.pages.step_up import step_up_first
from sessile.server.pages.typed import keep_typed
from sessile.server.state import Server
from sessile.server.waiting import asked_of
from sessile.server.wording import TEXTS
from sessile.web.access import Access

router = APIRouter(prefix=HOME)

WAITING: Final = f"{HOME}/waiting"
_SHOWN: Final = 2_000
WorkPath = Annotated[str, Path(pattern=r"^wrk_[0-9abcdefghjkmnpqrstvwxyz]{26}$")]


@router.get("/waiting")
async def show(request: Request, server: Ours, active: Person, here: CurrentAccess) -> Response:
    asked = await server.authority.approvals(principal=active.session.principal)
    return page(
        request, "waiting.html", now=server.now(), parked=await server.authority.parked(active), asked=asked,
        to_approve=[await _row(server, work) for work in await asked_of(server, active)],
        notice=here.data.pop("notice", None), notice_tone=here.data.pop("notice_tone", "success"),
        go_on=remembered(request),
    )  # fmt: skip


@router.post("/waiting")
async def park(
    request: Request, here: CurrentAccess, of: Annotated[str | None, Query(alias="page", max_length=2_000)] = None
) -> Response:
    """What was typed into a page that a timeout takes away (park.js). The answer tells nothing: nobody sees it."""
    await park_form(request, here, of)
    return Response(status_code=204)


@router.post("/waiting/{id}/resume")
async def resume(
    id: WorkPath, request: Request, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm
) -> Response:
    work = next((one for one in await server.authority.parked(active) if one.id == id and one.type == FORM), None)
    if work is None:
        return _said(here, TEXTS.waiting.gone, "warn")
    try:
        form = await server.authority.resume(active, id, Form)
    except Refused:
        return step_up_first(request, here, TEXTS.waiting.for_resume, WAITING)
    except NotFound:
        return _said(here, TEXTS.waiting.gone, "warn")
    keep_typed(here, form.path, form.fields)
    here.data["notice"] = TEXTS.waiting.resumed
    return go(form.path)


@router.post("/waiting/{id}/drop")
async def drop(id: WorkPath, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm) -> Response:
    try:
        await server.authority.drop(active, id)
    except NotFound:
        return _said(here, TEXTS.waiting.gone, "warn")
    return _said(here, TEXTS.waiting.dropped)


@router.post("/waiting/{id}/approve")
async def approve(
    id: WorkPath, request: Request, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm
) -> Response:
    try:
        await server.authority.approve(active, id)
    except Refused as error:
        if error.denied.cure is Cure.STEP_UP:
            return step_up_first(request, here, TEXTS.waiting.for_approval, WAITING)
        return _said(here, TEXTS.waiting.not_you, "warn")
    except (NotFound, Conflict):
        return _said(here, TEXTS.waiting.gone, "warn")
    return _said(here, TEXTS.waiting.approved)


@router.post("/waiting/{id}/refuse")
async def refuse(id: WorkPath, server: Ours, active: Person, here: CurrentAccess, _form: CheckedForm) -> Response:
    try:
        await server.authority.refuse(active, id)
    except (NotFound, Conflict):
        return _said(here, TEXTS.waiting.gone, "warn")
    except Refused:
        return _said(here, TEXTS.waiting.not_you, "warn")
    return _said(here, TEXTS.waiting.refused)


def _said(here: Access, sentence: str, tone: str = "success") -> Response:
    here.data["notice"] = sentence
    here.data["notice_tone"] = tone
    return go(WAITING)


async def _row(server: Server, work: Work) -> dict[str, Any]:
    asker = await server.authority.store.principal(uid=work.uid)
    context = json.dumps(work.decoded(), indent=2, ensure_ascii=False)
    return {"work": work, "person": asker.name if asker is not None else "", "context": context[:_SHOWN]}

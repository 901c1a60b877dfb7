"""`/console/…/contain` and `/console/containments`: what a compromise reaches, seen, cut, and reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active, demand
from sessile.kernel.event import EventName
from sessile.server.access import FRESH_OPERATOR, Operator, Ours, PrincipalPath, SessionPath
from sessile.server.models import CONTAINMENT_ID
from sessile.server.pages.console import CONSOLE, MAX_CAUSE, SPANS, principal_path
from sessile.server.pages.render import CheckedForm, go, page, text
from sessile.server.pages.step_up import step_up_first
from sessile.server.pages.typed import typed_before
from sessile.server.picture import tree
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.web.access import Access

router = APIRouter(prefix=CONSOLE)

_LISTED: Final = 100
Since = Annotated[str, Query(max_length=10)]


@dataclass(frozen=True)
class Target:
    """What is contained: a session, or all of a principal's."""

    session: str | None
    principal: str | None
    name: str
    """Of the principal, or the session's label."""
    whose: str
    back: str
    path: str


async def _session(server: Server, id: str) -> Target:
    info = await server.authority.session(id)
    path = f"{CONSOLE}/sessions/{id}"
    return Target(id, None, TEXTS.session_name(info), info.principal or TEXTS.session.unnamed, path, f"{path}/contain")


async def _principal(server: Server, id: str) -> Target:
    name = (await server.authority.principal(id)).name
    return Target(None, name, name, name, principal_path(name), f"{principal_path(name)}/contain")


@router.get("/sessions/{id}/contain")
async def ask_session(
    id: SessionPath, request: Request, server: Ours, _active: Operator, here: CurrentAccess, since: Since = ""
) -> Response:
    return await _ask(request, server, here, await _session(server, id), since)


@router.post("/sessions/{id}/contain")
async def contain_session(
    id: SessionPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    return await _do(request, server, here, active, form, await _session(server, id))


@router.get("/principals/{id}/contain")
async def ask_principal(
    id: PrincipalPath, request: Request, server: Ours, _active: Operator, here: CurrentAccess, since: Since = ""
) -> Response:
    return await _ask(request, server, here, await _principal(server, id), since)


@router.post("/principals/{id}/contain")
async def contain_principal(
    id: PrincipalPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    return await _do(request, server, here, active, form, await _principal(server, id))


@router.get("/containments")
async def show_all(request: Request, server: Ours, _active: Operator) -> Response:
    names = {EventName.SESSION_CONTAINED, EventName.PRINCIPAL_CONTAINED}
    found = await server.authority.store.events(names=names, latest=True, limit=_LISTED)
    still = set(await server.authority.store.open_containments())
    return page(
        request, "containments.html", now=server.now(), still=still,
        events=[event for event in found if event.details.get("containment")],
    )  # fmt: skip


@router.get("/containments/{id}")
async def show(
    id: Annotated[str, Path(pattern=CONTAINMENT_ID)], request: Request, server: Ours, _active: Operator
) -> Response:
    report = await server.authority.containment(id)
    return page(
        request, "containment.html", now=server.now(), report=report,
        picture=None if report.radius is None else tree(report.radius.sessions),
    )  # fmt: skip


async def _ask(request: Request, server: Server, here: Access, target: Target, since: str) -> Response:
    return await _preview(request, server, target, since, typed_before(here, target.path))


async def _preview(
    request: Request, server: Server, target: Target, since: str, typed: dict[str, str], *, status: int = 200,
    error: str = "",
) -> Response:  # fmt: skip
    would = await server.authority.contain(
        session=target.session, principal=target.principal, since=_from(server, since), cause="preview", dry_run=True
    )
    assert would.radius is not None  # noqa: S101 - a dry run is walked to the end
    return page(
        request, "contain.html", status=status, now=server.now(), target=target, radius=would.radius,
        picture=tree(would.radius.sessions), leases=would.leases, since=since if since in SPANS else "", spans=SPANS,
        cause=typed.get("cause", ""), errors={"cause": error} if error else {},
    )  # fmt: skip


async def _do(
    request: Request, server: Server, here: Access, active: Active, form: FormData, target: Target
) -> Response:
    cause, since = text(form, "cause").strip(), text(form, "since")
    if not cause or len(cause) > MAX_CAUSE:
        error = TEXTS.confirm.cause_long.format(maximum=MAX_CAUSE) if cause else TEXTS.confirm.cause_missing
        return await _preview(request, server, target, since, {"cause": cause}, status=422, error=error)
    if demand(active.session, FRESH_OPERATOR, server.now()) is not None:
        return step_up_first(request, here, TEXTS.step_up.for_operator, target.path, cause=cause)
    report = await server.authority.contain(
        session=target.session, principal=target.principal, since=_from(server, since), cause=cause, by=active,
        disable=target.principal is not None and text(form, "disable") == "yes",
    )  # fmt: skip
    return go(f"{CONSOLE}/containments/{report.id}")


def _from(server: Server, since: str) -> datetime | None:
    return server.now() - SPANS[since] if since in SPANS else None

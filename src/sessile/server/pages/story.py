"""`/console/sessions/{id}`: one session's story, alive or a tombstone."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from sessile.errors import NotFound
from sessile.kernel.session import SessionInfo
from sessile.kernel.trace import TraceKind
from sessile.nhi.blast import Touched, touched_of
from sessile.server.access import Operator, Ours, SessionPath
from sessile.server.pages.console import CONSOLE, trees
from sessile.server.pages.render import page
from sessile.server.rules import sentences
from sessile.server.state import Server

router = APIRouter(prefix=CONSOLE)

EVENTS: Final = 100
_DEPTH: Final = 8


@router.get("/sessions/{id}")
async def show_session(id: SessionPath, request: Request, server: Ours, _active: Operator) -> Response:
    info = await server.authority.session(id)
    policy = await server.authority.store.policy(info.policy)
    return page(
        request, "session.html", now=server.now(), session=info, above=await _above(server, info),
        tree=(await trees(server, [info]))[0].children, rules=[] if policy is None else sentences(policy),
        touched=await _touched(server, info),
        events=await server.authority.store.events(session=id, latest=True, limit=EVENTS),
    )  # fmt: skip


async def _above(server: Server, info: SessionInfo) -> list[SessionInfo]:
    """What it came from, nearest first."""
    found: list[SessionInfo] = []
    at = info.parent or info.origin
    while at is not None and len(found) < _DEPTH:
        try:
            found.append(await server.authority.session(at))
        except NotFound:  # swept: nothing of it is alive, or its tombstone would be here
            break
        at = found[-1].parent or found[-1].origin
    return found


async def _touched(server: Server, info: SessionInfo) -> list[Touched]:
    await server.authority.traces.flush(server.authority.store, everything=True)
    found = await server.authority.store.traces(kind=TraceKind.TOUCH, subjects=[info.id], limit=EVENTS)
    return [touched_of(one, info.principal) for one in found]

"""`/sessions`: one's own sessions and devices; for operators, the tree of any."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from sessile.fastapi import CurrentAccess
from sessile.server.access import After, Fresh, Limit, Operator, Ours, Person, SessionPath
from sessile.server.ending import ENDED_BY_ONESELF, end_others, own_session
from sessile.server.models import PageOut, ReceiptOut, SessionOut, session_page

router = APIRouter(tags=["Sessions"])


@router.get("/sessions", summary="List my sessions")
async def list_own(server: Ours, active: Person, after: After = None, limit: Limit = 100) -> PageOut[SessionOut]:
    """One's own living sessions, newest first."""
    page = await server.authority.sessions(principal=active.session.principal, after=after, limit=limit)
    return session_page(page, page.next, current=active.session.id)


@router.delete("/sessions", summary="End my other sessions")
async def end_all_others(
    server: Ours, active: Fresh, _except: Annotated[Literal["current"], Query(alias="except")]
) -> ReceiptOut:
    """Every other session of this person ends. Needs an authentication of the last 15 minutes (ASVS V7.5.2)."""
    return ReceiptOut.of(await end_others(server, active))


@router.delete("/sessions/{id}", summary="End one of my sessions")
async def end_one(id: SessionPath, server: Ours, active: Fresh, here: CurrentAccess) -> ReceiptOut:
    """One of one's own, or one that they handed out; with all whose life hangs on it.

    Needs an authentication of the last 15 minutes (ASVS V7.5.2).
    """
    info = await own_session(server, active, id)
    receipt = await server.authority.revoke(session=info.id, cause=ENDED_BY_ONESELF, by=active)
    if info.id == active.session.id:
        await here.sign_out()
    return ReceiptOut.of(receipt)


@router.get("/sessions/{id}/tree", summary="Show a session's tree")
async def show_tree(
    id: SessionPath, server: Ours, _active: Operator, after: After = None, limit: Limit = 100
) -> PageOut[SessionOut]:
    """A session and all that it handed out, givers first, ended ones too. For operators."""
    page = await server.authority.sessions(tree=id, ended=True, after=after, limit=limit)
    return session_page(page, page.next)

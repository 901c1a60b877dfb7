"""`/leases`: credentials in other systems, which end with the session that they hang on."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from sessile.errors import NotFound
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.kernel.principal import OPERATOR
from sessile.kernel.session import SessionInfo, SessionKind, Tie
from sessile.server.access import FRESH_PERSON, After, Limit, Operator, Ours, Person, SessionPath, meet_operator
from sessile.server.ending import ENDED_BY_ONESELF, own_lease
from sessile.server.leases import LeasedOut, LeaseEnd, LeaseOut, NewLease, SuccessorOut
from sessile.server.models import PageOut, ReceiptOut, seconds
from sessile.server.problems import NotValid
from sessile.server.state import Server
from sessile.web.access import Access
from sessile.web.problem import MEDIA_TYPE

router = APIRouter(tags=["Leases"])

_OUTSIDE: Final = {
    "description": "The other system did not do it.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
}


@router.post("/leases", status_code=201, summary="Lease a credential", responses={502: _OUTSIDE})
async def lease(body: NewLease, server: Ours, active: Person, here: CurrentAccess) -> LeasedOut:
    """Through a configured connector: register a credential that is there (`handle`), or have a new one made. It needs
    the scope `lease:CONNECTOR`, by name, or `operator`.

    A lease that outlives this session needs an authentication of the last five minutes.
    """
    tie = Tie.PARENT if body.with_session else Tie.ORIGIN
    try:
        if body.handle is None:
            leased = await server.leases.mint(
                active, connector=body.connector, owner=body.owner, lifetime=seconds(body.lifetime), label=body.label,
                tie=tie, client=here.client,
            )  # fmt: skip
        else:
            leased = await server.leases.register(
                active, connector=body.connector, handle=body.handle, owner=body.owner,
                lifetime=seconds(body.lifetime), label=body.label, ends_by=body.ends_by, tie=tie, client=here.client,
            )  # fmt: skip
    except ValueError as error:
        raise NotValid(str(error)) from None
    return LeasedOut.handed(leased)


@router.get("/leases", summary="List leases")
async def list_leases(
    server: Ours, active: Person, here: CurrentAccess, after: After = None, limit: Limit = 100,
    everyone: Annotated[bool, Query(description="Of everybody, for operators; else those that I handed out.")] = False,
    pending: Annotated[
        bool, Query(description="With everyone: only those that should be over and are not confirmed.")
    ] = False,
) -> PageOut[LeaseOut]:  # fmt: skip
    """Mine: the living ones, newest first. Everybody's: all whose end is not confirmed, what is being tried included.
    A page may hold fewer than `limit` and still have a next one.
    """
    if everyone or pending:
        await meet_operator(here, active, server)
        page = await server.leases.all(pending=pending, after=after, limit=limit)
    else:
        page = await server.leases.of(active.session.uid, after=after, limit=limit)
    return PageOut(items=[LeaseOut.of(one) for one in page], next=page.next)


@router.get("/leases/{id}", summary="Show a lease")
async def show(id: SessionPath, server: Ours, active: Person, here: CurrentAccess) -> LeaseOut:
    """One that I handed out, or of a service or agent of mine; operators: any."""
    await _reach(server, active, here, id)
    return LeaseOut.of(await server.leases.show(id))


@router.delete("/leases/{id}", summary="End a lease")
async def end(id: SessionPath, server: Ours, active: Person, here: CurrentAccess) -> ReceiptOut:
    """It is over here at once, and ended in the other system as soon as that can be reached: the lease says how far
    that has got.
    """
    info = await _reach(server, active, here, id)
    return ReceiptOut.of(await server.authority.revoke(session=info.id, cause=ENDED_BY_ONESELF, by=active))


@router.post("/leases/{id}/confirm", summary="Confirm an end by hand")
async def confirm(id: SessionPath, body: LeaseEnd, server: Ours, active: Operator) -> LeaseOut:
    """A person says that the credential is over in the other system: nobody tries to end it any more. For operators."""
    return LeaseOut.of(await server.leases.confirm(id, cause=body.cause, by=active))


@router.post("/leases/{id}/successor", summary="Take a rotated credential")
async def take(id: SessionPath, server: Ours, _active: Person, here: CurrentAccess) -> SuccessorOut:
    """The new secret of a credential that was rotated, once. The record says who took it.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_PERSON)
    await _reach(server, active, here, id)
    return SuccessorOut(secret=dict(await server.leases.take_successor(id, by=active)))


async def _reach(server: Server, active: Active, here: Access, id: str) -> SessionInfo:
    """One's own, or, for operators, anybody's. Raises NotFound, AccessDenied."""
    try:
        return await own_lease(server, active, id)
    except NotFound:
        if OPERATOR not in active.session.scopes:
            raise
        await meet_operator(here, active, server)
        info = await server.authority.session(id)
        if info.kind is not SessionKind.LEASE:
            raise
        return info

"""`/delegations`: hand an agent or a service a session that dies with one's own."""

from __future__ import annotations

from fastapi import APIRouter

from sessile.fastapi import CurrentAccess
from sessile.server.access import Ours, Person
from sessile.server.models import HandedOut, NewDelegation, seconds

router = APIRouter(tags=["Delegations"])


@router.post("/delegations", status_code=201, summary="Delegate")
async def delegate(body: NewDelegation, server: Ours, active: Person, here: CurrentAccess) -> HandedOut:
    """`to` is an agent or service of one's own; a new name is registered as that. At most one's own scopes.

    `DELETE /sessions/{id}` takes it back.
    """
    issued = await server.authority.delegate(
        active, to=body.to, scopes=body.scopes, lifetime=seconds(body.lifetime), label=body.label, client=here.client
    )
    return HandedOut.handed(await server.authority.session(issued.active.session.id), issued.token)

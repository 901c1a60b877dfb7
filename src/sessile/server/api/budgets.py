"""`/principals/{id}/budget`: how many calls an agent or a service may make."""

from __future__ import annotations

from fastapi import APIRouter

from sessile.errors import refused
from sessile.kernel.decide import Active
from sessile.kernel.principal import OPERATOR, Principal
from sessile.server.access import Ours, Person, PrincipalPath
from sessile.server.nonhuman import BudgetIn, BudgetOut
from sessile.server.state import Server

router = APIRouter(tags=["Principals"])


@router.get("/principals/{id}/budget", summary="Show a budget")
async def show(id: PrincipalPath, server: Ours, active: Person) -> BudgetOut:
    """Of an agent or service of one's own; operators: of any."""
    found = await _own(server, active, id)
    return BudgetOut.of(found.name, await server.authority.budget(found.name))


@router.put("/principals/{id}/budget", summary="Set a budget")
async def put(id: PrincipalPath, body: BudgetIn, server: Ours, active: Person) -> BudgetOut:
    """From now on, for all of its sessions on all nodes; calls of what it hands on count, too. Whoever is over it is
    answered 429 with Retry-After.
    """
    found = await _own(server, active, id)
    return BudgetOut.of(found.name, await server.authority.set_budget(found.name, body.budget(), by=active))


@router.delete("/principals/{id}/budget", summary="Take a budget away")
async def remove(id: PrincipalPath, server: Ours, active: Person) -> BudgetOut:
    """Its calls are not counted any more."""
    found = await _own(server, active, id)
    return BudgetOut.of(found.name, await server.authority.set_budget(found.name, None, by=active))


async def _own(server: Server, active: Active, name: str) -> Principal:
    session = active.session
    found = await server.authority.store.principal(name=name)
    if found is not None and OPERATOR in session.scopes:
        return found
    # The same for another's and for none (ASVS V8.2.2). An agent does not set its own.
    acts_itself = session.kind.is_a_persons and not session.impersonation
    if found is None or not acts_itself or not await server.authority.answers(session.uid, found):
        raise refused(session, f"{name} is no agent or service of yours")
    return found

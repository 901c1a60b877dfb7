"""`/principals`: people, services and agents. For operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from sessile.fastapi import CurrentAccess
from sessile.kernel.principal import RESERVED_SCOPES, Principal, PrincipalKind
from sessile.server.access import FRESH_OPERATOR, After, Limit, Operator, Ours, PrincipalPath
from sessile.server.models import (
    ErasedOut,
    Erasure,
    NewPrincipal,
    PageOut,
    PrincipalChange,
    PrincipalChanged,
    PrincipalOut,
    ReceiptOut,
    SessionOut,
    session_page,
)  # fmt: skip
from sessile.server.state import Server

router = APIRouter(tags=["Principals"])


@router.get("/principals", summary="List principals")
async def list_all(
    server: Ours, _active: Operator, after: After = None, limit: Limit = 100, kind: PrincipalKind | None = None,
    search: Annotated[str, Query(max_length=128, description="A part of the name.")] = "",
) -> PageOut[PrincipalOut]:  # fmt: skip
    """By name, ascending."""
    page = await server.authority.store.principals(kind=kind, search=search.casefold(), after=after, limit=limit)
    return PageOut(items=[PrincipalOut.of(one, await owner_name(server, one)) for one in page], next=page.next)


@router.post("/principals", status_code=201, summary="Register a principal")
async def register(body: NewPrincipal, server: Ours, active: Operator, here: CurrentAccess) -> PrincipalOut:
    """A person gets no password here: nobody chooses another's (ASVS V6.4.6). An operator on the server's machine
    enrols people with `sessile user add`.

    Every service and agent has an owner, who answers for it: a person, or `team:NAME`. Without one named that is
    whoever asks. Without a purpose it is a finding of the inventory.

    Handing out `operator` or `introspect` needs an authentication of the last five minutes.
    """
    if RESERVED_SCOPES & set(body.scopes or ()):
        await here.meet(FRESH_OPERATOR)
    made = await server.authority.register(
        body.id, scopes=body.scopes, owner=body.owner, purpose=body.purpose, by=active
    )
    return PrincipalOut.of(made, await owner_name(server, made))


@router.get("/principals/{id}", summary="Show a principal")
async def show(id: PrincipalPath, server: Ours, _active: Operator) -> PrincipalOut:
    """By its id."""
    found = await server.authority.principal(id)
    return PrincipalOut.of(found, await owner_name(server, found))


@router.patch("/principals/{id}", summary="Change a principal")
async def change(
    id: PrincipalPath, body: PrincipalChange, server: Ours, _active: Operator, here: CurrentAccess
) -> PrincipalChanged:
    """Disabling ends every session of the principal at once and says so in the receipt, with the keys and leases
    that it handed out and that go on, and the agents and services that nobody answers for now. Enabling brings nothing
    back, and is refused for an agent or a service that nobody answers for.

    `owner` (a person, or `team:NAME`) and `purpose` are of services and agents. Changing them ends nothing.

    `emails` is for a person who has no confirmed address yet, so that it can set its first password: each gets a link
    and counts once that was followed. From then on only the person changes them: whoever could change another's
    addresses could take over the account.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    if body.emails is not None:
        await server.addresses.replace(await server.authority.principal(id), body.emails, by=active)
    if body.owner is not None or body.purpose is not None:
        await server.authority.describe(id, owner=body.owner, purpose=body.purpose, by=active)
    receipt = None
    if body.status == "disabled":
        receipt = await server.authority.disable(id, cause=body.cause or "disabled", by=active)
    elif body.status == "active":
        receipt = await server.authority.enable(id, cause=body.cause or "enabled", by=active)
    found = await server.authority.principal(id)
    return PrincipalChanged.changed(found, await owner_name(server, found), receipt)


@router.delete("/principals/{id}", summary="Delete a principal")
async def delete(
    id: PrincipalPath, server: Ours, _active: Operator, here: CurrentAccess,
    cause: Annotated[str, Query(min_length=1, max_length=200, description="Why, for the audit record.")] = "deleted",
    erase: Annotated[bool, Query(description="Also take what names it out of all that is kept.")] = False,
) -> ReceiptOut:  # fmt: skip
    """For good: every session ends at once, passwords and factors are removed, the name is free for another principal.

    With `erase`, what names it goes from sessions, reports and the audit record, which still proves that it is as it
    was written; its `uid` stays. If that part fails, ask `POST /erasures` for it.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    return ReceiptOut.of(await server.authority.delete(id, cause=cause, erase=erase, by=active))


@router.post("/erasures", status_code=201, summary="Erase a deleted principal")
async def erase(body: Erasure, server: Ours, _active: Operator, here: CurrentAccess) -> ErasedOut:
    """Of one that was deleted before, by its `uid`. Needs an authentication of the last five minutes."""
    active = await here.meet(FRESH_OPERATOR)
    return ErasedOut.of(await server.authority.erase(body.uid, cause=body.cause, by=active))


@router.get("/principals/{id}/sessions", summary="List a principal's sessions")
async def sessions(
    id: PrincipalPath, server: Ours, _active: Operator, after: After = None, limit: Limit = 100
) -> PageOut[SessionOut]:
    """Its living sessions, newest first."""
    page = await server.authority.sessions(principal=id, after=after, limit=limit)
    return session_page(page, page.next)


async def owner_name(server: Server, principal: Principal) -> str | None:
    """The name of who answers for a principal: a person, or `team:NAME`."""
    owner = await server.authority.owner(principal)
    return None if owner is None else owner.name

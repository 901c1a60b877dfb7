"""`/inventory`, and what a person leaves behind. For operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from sessile.fastapi import CurrentAccess
from sessile.server.access import FRESH_OPERATOR, After, Limit, Operator, Ours, PrincipalPath
from sessile.server.models import OwnerName, PageOut
from sessile.server.nonhuman import (
    HandedOver,
    HandingOver,
    HoldingsOut,
    ItemOut,
    OffboardedOut,
    Offboarding,
)  # fmt: skip

router = APIRouter(tags=["Inventory"])


@router.get("/inventory", summary="List agents and services, and what is wrong with them")
async def show(
    server: Ours, _active: Operator, after: After = None, limit: Limit = 100,
    owner: Annotated[OwnerName | None, Query(description="Only those that this person, or `team:NAME`, owns.")] = None,
) -> PageOut[ItemOut]:  # fmt: skip
    """By name, each with owner, age, scopes, last use, living keys and leases, when their rotation is due, and findings
    by OWASP's Non-Human Identities Top 10 with the cure.
    """
    page = await server.authority.inventory(owner=owner, after=after, limit=limit)
    return PageOut(items=[ItemOut.of(one) for one in page], next=page.next)


@router.get("/principals/{id}/holdings", summary="Show what a person would leave behind")
async def holdings(id: PrincipalPath, server: Ours, _active: Operator) -> HoldingsOut:
    """The agents and services that nobody else answers for, its teams, living keys and leases, and the living secrets
    that it was shown.
    """
    return HoldingsOut.of(await server.authority.holdings(id))


@router.post("/principals/{id}/handover", summary="Hand a person's agents and services over")
async def hand_over(
    id: PrincipalPath, body: HandingOver, server: Ours, _active: Operator, here: CurrentAccess
) -> HandedOver:
    """`to`, another person or `team:NAME`, answers from now on for those that nobody else answers for: for all, or
    `only` for those. Ends nothing.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    return HandedOver(
        principals=[one.name for one in await server.authority.hand_over(id, to=body.to, only=body.only, by=active)]
    )


@router.post("/principals/{id}/offboarding", summary="Offboard a person")
async def offboard(
    id: PrincipalPath, body: Offboarding, server: Ours, _active: Operator, here: CurrentAccess
) -> OffboardedOut:
    """Disable it, hand the agents and services that nobody else answers for over to `to`, a person or `team:NAME`
    (without: disable them too), and list the keys that it handed out or saw, or end them.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    return OffboardedOut.of(
        await server.authority.offboard(id, to=body.to, end_keys=body.end_keys, cause=body.cause, by=active)
    )

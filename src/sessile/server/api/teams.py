"""`/teams`: people who answer together for agents and services. For operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from sessile.fastapi import CurrentAccess
from sessile.kernel.team import Team
from sessile.server.access import FRESH_OPERATOR, After, Limit, Operator, Ours
from sessile.server.models import Name, PageOut
from sessile.server.nonhuman import HandedOver, HandingOver, HoldingsOut
from sessile.server.state import Server
from sessile.server.teams import NewMember, NewTeam, TeamName, TeamOut

router = APIRouter(tags=["Teams"])

TeamPath = Annotated[TeamName, Path(description="`team:NAME`.")]


@router.get("/teams", summary="List teams")
async def list_all(
    server: Ours, _active: Operator, after: After = None, limit: Limit = 100,
    member: Annotated[Name | None, Query(description="Only those that this person is in.")] = None,
    search: Annotated[str, Query(max_length=128, description="A part of the name.")] = "",
) -> PageOut[TeamOut]:  # fmt: skip
    """By name, ascending. What a team owns: `GET /inventory?owner=team:NAME`."""
    page = await server.authority.teams(member=member, search=search.casefold(), after=after, limit=limit)
    return PageOut(items=[await _out(server, one) for one in page], next=page.next)


@router.post("/teams", status_code=201, summary="Make a team")
async def add(body: NewTeam, server: Ours, _active: Operator, here: CurrentAccess) -> TeamOut:
    """A team is no principal: it cannot sign in and has no rights. It may own services and agents, and what an owner
    may do with them, each of its members who is active may.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    return await _out(server, await server.authority.add_team(body.id, members=body.members, by=active))


@router.get("/teams/{id}", summary="Show a team")
async def show(id: TeamPath, server: Ours, _active: Operator) -> TeamOut:
    """With its members."""
    return await _out(server, await server.authority.team(id))


@router.delete("/teams/{id}", status_code=204, summary="Delete a team")
async def delete(id: TeamPath, server: Ours, _active: Operator, here: CurrentAccess) -> None:
    """409 while it owns something: hand that over first. Needs an authentication of the last five minutes."""
    active = await here.meet(FRESH_OPERATOR)
    await server.authority.delete_team(id, by=active)


@router.post("/teams/{id}/members", summary="Let a person be a member")
async def join(id: TeamPath, body: NewMember, server: Ours, _active: Operator, here: CurrentAccess) -> TeamOut:
    """From now on it may do what an owner may. Idempotent. Needs an authentication of the last five minutes."""
    active = await here.meet(FRESH_OPERATOR)
    await server.authority.join_team(id, body.principal, by=active)
    return await _out(server, await server.authority.team(id))


@router.delete("/teams/{id}/members/{member}", summary="Let a person be a member no more")
async def leave(
    id: TeamPath, member: Annotated[Name, Path(description="A person's user name.")], server: Ours, _active: Operator,
    here: CurrentAccess,
) -> TeamOut:  # fmt: skip
    """409 if the team owns something and nobody else who is active is in it. What the person was shown is in
    `GET /principals/{id}/holdings`. Idempotent.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    await server.authority.leave_team(id, member, by=active)
    return await _out(server, await server.authority.team(id))


@router.get("/teams/{id}/holdings", summary="Show what a team answers for")
async def holdings(id: TeamPath, server: Ours, _active: Operator) -> HoldingsOut:
    """The agents and services that it owns, and their living keys and leases."""
    return HoldingsOut.of(await server.authority.holdings(id))


@router.post("/teams/{id}/handover", summary="Hand a team's agents and services over")
async def hand_over(
    id: TeamPath, body: HandingOver, server: Ours, _active: Operator, here: CurrentAccess
) -> HandedOver:
    """A person, or another team, answers for them from now on: for all, or `only` for those. Ends nothing.

    Needs an authentication of the last five minutes.
    """
    active = await here.meet(FRESH_OPERATOR)
    done = await server.authority.hand_over(id, to=body.to, only=body.only, by=active)
    return HandedOver(principals=[one.name for one in done])


async def _out(server: Server, team: Team) -> TeamOut:
    return TeamOut.of(team, await server.authority.store.members(team.uid))

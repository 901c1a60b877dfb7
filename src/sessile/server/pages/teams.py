"""`/console/teams`: people who answer together for services and agents."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active, demand
from sessile.kernel.team import Team
from sessile.server.access import FRESH_OPERATOR, After, Operator, Ours
from sessile.server.api.teams import TeamPath
from sessile.server.pages.console import CONSOLE
from sessile.server.pages.render import CheckedForm, go, page, text
from sessile.server.pages.step_up import step_up_first
from sessile.server.state import Server
from sessile.server.wording import TEXTS
from sessile.stores.owning import can_answer
from sessile.web.access import Access

TEAMS: Final = f"{CONSOLE}/teams"
router = APIRouter(prefix=TEAMS)

_TEAMS: Final = 50
_BETWEEN: Final = re.compile(r"[\s,;]+")


@router.get("")
async def show_all(
    request: Request, server: Ours, _active: Operator, here: CurrentAccess, after: After = None,
    q: Annotated[str, Query(max_length=128)] = "",
) -> Response:  # fmt: skip
    return await _all(request, server, here, after=after, query=q)


@router.post("")
async def add(request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm) -> Response:
    name, members = text(form, "name").strip()[:200], text(form, "members").strip()
    if _stale(server, active):
        return step_up_first(request, here, TEXTS.step_up.for_operator, TEAMS, name=name, members=members)
    people = [one for one in _BETWEEN.split(members) if one]
    try:
        made = await server.authority.add_team(name, members=people, by=active)
    except (Conflict, NotFound, LimitExceeded) as error:
        where = "name" if isinstance(error, Conflict) and "already" in str(error) else "members"
        errors = {where: _sentence(error)}
    except ValueError:
        errors = {"name": TEXTS.teams.wrong}
    else:
        return go(team_path(made.name))
    return await _all(request, server, here, status=422, errors=errors, typed={"name": name, "members": members})


@router.get("/{id}")
async def show(id: TeamPath, request: Request, server: Ours, _active: Operator, here: CurrentAccess) -> Response:
    return await _one(request, server, here, await server.authority.team(id))


@router.post("/{id}/join")
async def join(
    id: TeamPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    team, member = await server.authority.team(id), text(form, "member").strip()[:200]
    if _stale(server, active):
        return step_up_first(request, here, TEXTS.step_up.for_operator, team_path(team.name), member=member)
    try:
        await server.authority.join_team(team.name, member, by=active)
    except (NotFound, ValueError):
        said = TEXTS.teams.no_person.format(name=member)
    except (Conflict, LimitExceeded) as error:
        said = _sentence(error)
    else:
        here.data["notice"] = TEXTS.teams.joined.format(name=member)
        return go(team_path(team.name))
    return await _one(request, server, here, team, status=422, errors={"member": said}, typed={"member": member})


@router.post("/{id}/leave")
async def leave(
    id: TeamPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, form: CheckedForm
) -> Response:
    team, member = await server.authority.team(id), text(form, "leaves").strip()[:200]
    if _stale(server, active):
        return step_up_first(request, here, TEXTS.step_up.for_operator, team_path(team.name))
    try:
        await server.authority.leave_team(team.name, member, by=active)
    except (NotFound, ValueError):
        said = TEXTS.teams.no_person.format(name=member)
    except Conflict as error:
        said = _sentence(error)
    else:
        here.data["notice"] = TEXTS.teams.left.format(name=member)
        return go(team_path(team.name))
    return await _one(request, server, here, team, status=422, errors={"member": said})


@router.post("/{id}/delete")
async def delete(
    id: TeamPath, request: Request, server: Ours, active: Operator, here: CurrentAccess, _form: CheckedForm
) -> Response:
    team = await server.authority.team(id)
    if _stale(server, active):
        return step_up_first(request, here, TEXTS.step_up.for_operator, team_path(team.name))
    try:
        await server.authority.delete_team(team.name, by=active)
    except Conflict as error:
        return await _one(request, server, here, team, status=409, errors={"member": _sentence(error)})
    here.data["notice"] = TEXTS.teams.was_deleted.format(team=team.name)
    return go(TEAMS)


async def _all(
    request: Request, server: Server, here: Access, *, after: str | None = None, query: str = "", status: int = 200,
    **context: Any,
) -> Response:  # fmt: skip
    found = await server.authority.teams(search=query.strip().casefold(), after=after, limit=_TEAMS)
    return page(
        request, "teams.html", status=status, teams=[await _row(server, one) for one in found],
        next_href=found.next and f"{TEAMS}?{urlencode({'after': found.next})}", notice=here.data.pop("notice", None),
        **context,
    )  # fmt: skip


async def _one(
    request: Request, server: Server, here: Access, team: Team, *, status: int = 200, **context: Any
) -> Response:
    return page(
        request, "team.html", status=status, now=server.now(), path=team_path(team.name), **await _row(server, team),
        notice=here.data.pop("notice", None), **context,
    )  # fmt: skip


async def _row(server: Server, team: Team) -> dict[str, Any]:
    members = await server.authority.store.members(team.uid)
    return {
        "team": team, "members": members, "owned": await server.authority.owned(team.uid),
        "answers": any(can_answer(one) for one in members),
    }  # fmt: skip


def _stale(server: Server, active: Active) -> bool:
    return demand(active.session, FRESH_OPERATOR, server.now()) is not None


def _sentence(error: Exception) -> str:
    said = str(error)
    return f"{said[:1].upper()}{said[1:]}."


def team_path(name: str) -> str:
    return f"{TEAMS}/{quote(name, safe='')}"

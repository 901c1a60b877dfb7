"""`/parked` and `/approvals`: work under short lifetimes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Self

from fastapi import APIRouter, Path
from pydantic import AfterValidator, Field
from starlette.responses import Response

from sessile.errors import NotFound
from sessile.fastapi import CurrentAccess
from sessile.kernel.principal import OPERATOR, check_scopes
from sessile.kernel.work import Work, WorkState
from sessile.server.access import Ours, Person
from sessile.server.models import Input, Output, PageOut
from sessile.server.state import Server
from sessile.server.waiting import may_see
from sessile.working import ASKED_FOR, PARKED_FOR

router = APIRouter(tags=["Parked work and approvals"])

_DAYS: Final = 7 * 24 * 3600
WorkPath = Annotated[str, Path(pattern=r"^wrk_[0-9abcdefghjkmnpqrstvwxyz]{26}$", description="The id of what waits.")]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("printable characters only")
    return text


def _scope(text: str) -> str:
    check_scopes([text])
    return text


Name = Annotated[
    str, Field(min_length=1, max_length=100, description="What it is, for people."), AfterValidator(_printable)
]
Type = Annotated[
    str, Field(min_length=1, max_length=100, description="What the application takes it up as."),
    AfterValidator(_printable),
]  # fmt: skip
Seconds = Annotated[int, Field(ge=1, le=_DAYS, description="Seconds that it waits.")]


class Park(Input):
    name: Name
    type: Type
    work: Annotated[Any, Field(description="At most 16 KiB of JSON.")]
    lifetime: Seconds = int(PARKED_FOR.total_seconds())


class Ask(Input):
    name: Name
    type: Type
    context: Annotated[Any, Field(description="What exactly is to be approved: at most 16 KiB of JSON.")]
    scope: Annotated[
        str, Field(min_length=1, max_length=100, description="What whoever approves holds."), AfterValidator(_scope)
    ] = OPERATOR
    assurance: Annotated[int, Field(ge=1, le=3)] = 2
    fresh: Annotated[int, Field(ge=10, le=3600, description="Seconds since whoever approves proved itself.")] = 300
    lifetime: Seconds = int(ASKED_FOR.total_seconds())


class WorkOut(Output):
    id: str
    name: str
    type: str
    begun: datetime
    until: datetime

    @classmethod
    def of(cls, work: Work) -> Self:
        return cls(id=work.id, name=work.name, type=work.type, begun=work.begun, until=work.until)


class ApprovalOut(WorkOut):
    principal: str | None
    """Who asks."""
    session: str
    context: Any
    scope: str
    assurance: int
    fresh: int
    state: WorkState
    giver: str | None
    """Who approved."""
    given: datetime | None


class Taken(Output):
    name: str
    type: str
    work: Any


async def _approval(server: Server, work: Work) -> ApprovalOut:
    find = server.authority.store.principal
    names = {uid: one.name for uid in (work.uid, work.giver) if uid and (one := await find(uid=uid))}
    return ApprovalOut(
        **WorkOut.of(work).model_dump(), principal=names.get(work.uid), session=work.session,
        context=work.decoded(), scope=work.scope, assurance=work.assurance, fresh=int(work.fresh.total_seconds()),
        state=work.state, giver=names.get(work.giver or ""), given=work.given,
    )  # fmt: skip


@router.post("/parked", status_code=201, summary="Park work")
async def park(body: Park, here: CurrentAccess) -> WorkOut:
    """Keep what a person was at. The cookie may be of a session whose inactivity or overall limit was reached: it opens
    nothing, but shows whose work this is. Whoever signs in as the same person is offered it.
    """
    parked = await here.park(body.name, body.work, type_name=body.type, lifetime=timedelta(seconds=body.lifetime))
    return WorkOut.of(parked)


@router.get("/parked", summary="List what I parked")
async def list_parked(server: Ours, active: Person) -> PageOut[WorkOut]:
    """Oldest first; what each says is in the answer of its resumption."""
    return PageOut(items=[WorkOut.of(work) for work in await server.authority.parked(active)], next=None)


@router.post("/parked/{id}/resume", summary="Take parked work up again")
async def resume(id: WorkPath, server: Ours, active: Person) -> Taken:
    """Once. Needs an authentication since it was parked; else 401 `stale_authentication`, cure `step_up`."""
    work = next((one for one in await server.authority.parked(active) if one.id == id), None)
    if work is None:
        raise NotFound(f"no work {id} waits")
    return Taken(name=work.name, type=work.type, work=await server.authority.resume(active, id, Any))


@router.delete("/parked/{id}", status_code=204, response_class=Response, summary="Let parked work go")
async def drop(id: WorkPath, server: Ours, active: Person) -> None:
    """It is gone."""
    await server.authority.drop(active, id)


@router.post("/approvals", status_code=201, summary="Ask for an approval")
async def ask(body: Ask, server: Ours, active: Person) -> ApprovalOut:
    """Of another person (four eyes), before something is done. Bound to this session: it dies with it, and nobody else
    uses it.
    """
    asked = await server.authority.ask_approval(
        active, body.name, body.context, type_name=body.type, lifetime=timedelta(seconds=body.lifetime),
        scope=body.scope, assurance=body.assurance, fresh=timedelta(seconds=body.fresh),
    )  # fmt: skip
    return await _approval(server, asked)


@router.get("/approvals", summary="List approvals")
async def list_approvals(server: Ours, active: Person) -> PageOut[ApprovalOut]:
    """What I asked for, and what others ask of those who hold what I hold, oldest first, at most 100."""
    found = await server.authority.approvals()
    shown = [work for work in found if work.uid == active.session.uid or may_see(active, work)]
    return PageOut(items=[await _approval(server, work) for work in shown], next=None)


@router.post("/approvals/{id}/approve", summary="Approve")
async def approve(id: WorkPath, server: Ours, active: Person) -> ApprovalOut:
    """For another person, with a fresh and high enough authentication; else 401 with the cure `step_up`. The approval
    dies if this session is ended before it is used.
    """
    return await _approval(server, await server.authority.approve(active, id))


@router.post("/approvals/{id}/refuse", status_code=204, response_class=Response, summary="Refuse an approval")
async def refuse(id: WorkPath, server: Ours, active: Person) -> None:
    """For those who could approve it, whatever their authentication."""
    await server.authority.refuse(active, id)


@router.post("/approvals/{id}/use", summary="Use an approval")
async def use(id: WorkPath, server: Ours, active: Person) -> Taken:
    """Once, in the session that asked for it: what was approved, as it was asked."""
    work = await server.authority.approval(id)
    return Taken(name=work.name, type=work.type, work=await server.authority.use_approval(active, id, Any))


@router.delete("/approvals/{id}", status_code=204, response_class=Response, summary="Take a request for approval back")
async def take_back(id: WorkPath, server: Ours, active: Person) -> None:
    """One's own."""
    await server.authority.drop(active, id)

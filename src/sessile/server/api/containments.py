"""`/containments`: after a compromise, end all that was handed out, and say what that was. For operators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from sessile.fastapi import CurrentAccess
from sessile.server.access import FRESH_OPERATOR, Operator, Ours
from sessile.server.containments import ContainmentOut, NewContainment
from sessile.server.models import CONTAINMENT_ID

router = APIRouter(tags=["Containments"])


@router.post(
    "/containments", status_code=201, summary="Contain",
    responses={200: {"description": "What it would do: nothing was done (`dry_run`).", "model": ContainmentOut}},
)  # fmt: skip
async def contain(
    body: NewContainment, server: Ours, _active: Operator, here: CurrentAccess, response: Response
) -> ContainmentOut:
    """End a session, or all of a principal's, and what it handed out since an instant, keys included. It works as well
    on a session that has already ended.

    The root is cut first: from then on nothing below passes a check or can be minted. With `dry_run` nothing is done,
    and the answer (200) says what would be. Otherwise it needs an authentication of the last five minutes.
    """
    active = _active if body.dry_run else await here.meet(FRESH_OPERATOR)
    report = await server.authority.contain(
        session=body.session, principal=body.principal, since=body.since, cause=body.cause, by=active,
        disable=body.disable, dry_run=body.dry_run,
    )  # fmt: skip
    if body.dry_run:
        response.status_code = 200
    return ContainmentOut.of(report)


@router.get("/containments/{id}", summary="Show a containment's report")
async def show(id: Annotated[str, Path(pattern=CONTAINMENT_ID)], server: Ours, _active: Operator) -> ContainmentOut:
    """As it stands by now. `state` turns to `closed` by itself."""
    return ContainmentOut.of(await server.authority.containment(id))

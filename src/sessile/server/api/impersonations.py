"""`/impersonations`: act as somebody else, visibly. For operators."""

from __future__ import annotations

from fastapi import APIRouter

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Denied
from sessile.kernel.reason import Reason
from sessile.server.access import FRESH_OPERATOR, Operator, Ours
from sessile.server.models import OwnSessionOut, seconds
from sessile.server.nonhuman import Impersonation
from sessile.server.proving import own_session_out
from sessile.web.access import AccessDenied

router = APIRouter(tags=["Impersonations"])


@router.post("/impersonations", status_code=201, summary="Act as somebody else")
async def begin(body: Impersonation, server: Ours, _active: Operator, here: CurrentAccess) -> OwnSessionOut:
    """This browser is in a session of that person from now on, for at most 15 minutes and no longer than the operator's
    own session, which goes on without this browser. The person sees it among its sessions, with the cause.

    It changes no password and no factor and hands out nothing. Needs an authentication of the last five minutes.
    """
    if here.bearer:  # the answer is a cookie
        raise AccessDenied(Denied(reason=Reason.OUT_OF_SCOPE), bearer=True)
    active = await here.meet(FRESH_OPERATOR)
    issued = await server.authority.impersonate(
        active, body.principal, cause=body.cause, lifetime=seconds(body.lifetime), client=here.client
    )
    here.sign_in(issued)
    return await own_session_out(server, issued.active)

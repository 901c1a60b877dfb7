"""`/session`: the session of whoever asks. Sign in, who am I, step up, sign out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from sessile.fastapi import CurrentAccess
from sessile.server.access import Ours, SteppingUp
from sessile.server.device import keep_device, shown_device
from sessile.server.models import CodeStepUp, OwnSessionOut, SignIn, StepUp
from sessile.server.proving import own_session_out

router = APIRouter(tags=["Session"])


@router.post("/session", status_code=201, summary="Sign in")
async def begin(body: SignIn, request: Request, response: Response, server: Ours, here: CurrentAccess) -> OwnSessionOut:
    """Begin a browser session; its token is in Set-Cookie only. A session that this browser had ends.

    The answer is the same for an unknown name, a wrong password and a disabled principal.
    """
    issued = await server.passwords.sign_in(
        body.username, body.password, client=here.client, replaces=await here.replaceable(),
        device=shown_device(request, server),
    )  # fmt: skip
    here.sign_in(issued)
    keep_device(request, response, server, issued)
    return await own_session_out(server, issued.active)


@router.get("/session", summary="Who am I")
async def show(server: Ours, active: SteppingUp) -> OwnSessionOut:
    """The session that the cookie or the bearer token names."""
    return await own_session_out(server, active)


@router.post("/session/step-up", summary="Step up, or authenticate again")
async def step_up(body: StepUp, server: Ours, here: CurrentAccess, active: SteppingUp) -> OwnSessionOut:
    """A new authentication event in this session: its token is new, the old one over, both limits start anew.

    A code counts once.
    """
    if isinstance(body, CodeStepUp):
        issued = await server.totp.step_up(active, body.code, client=here.client)
    else:
        issued = await server.passwords.verify_again(active, body.password, client=here.client)
    here.sign_in(issued)
    return await own_session_out(server, issued.active)


@router.delete("/session", status_code=204, response_class=Response, summary="Sign out")
async def end(here: CurrentAccess, _active: SteppingUp) -> None:
    """End this session and all whose life hangs on it. The browser's cookie is removed."""
    await here.sign_out()

"""`/session`: the session of whoever asks. Sign in, who am I, step up, sign out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Active
from sessile.kernel.session import Client
from sessile.receipt import Issued
from sessile.server.access import Ours, SteppingUp
from sessile.server.device import keep_device, shown_device
from sessile.server.models import (
    CodeStepUp,
    OwnSessionOut,
    PasskeySignIn,
    PasskeyStepUp,
    PasswordStepUp,
    RecoveryStepUp,
    SignIn,
    SteppedUpOut,
    StepUp,
)  # fmt: skip
from sessile.server.presession import keep_presession, new_presession, shown_presession
from sessile.server.proving import own_session_out
from sessile.server.state import Server

router = APIRouter(tags=["Session"])


@router.post("/session", status_code=201, summary="Sign in")
async def begin(body: SignIn, request: Request, response: Response, server: Ours, here: CurrentAccess) -> OwnSessionOut:
    """Begin a browser session; its token is in Set-Cookie only. A session that this browser had ends.

    The answer is the same for an unknown name, a wrong password and a disabled principal. Where the browser's session
    had assurance 2 and is over by inactivity alone, the password is enough to be at assurance 2 again, until the
    overall limit of that session.
    """
    issued = await server.passwords.sign_in(
        body.username, body.password, client=here.client, replaces=await here.replaceable(),
        device=shown_device(request, server), resumes=await here.idled(),
    )  # fmt: skip
    here.sign_in(issued)
    await keep_device(request, response, server, issued)
    return await own_session_out(server, issued.active)


@router.post("/session/passkey/options", summary="Begin to sign in with a passkey")
async def passkey_options(request: Request, response: Response, server: Ours) -> dict[str, Any]:
    """What `PublicKeyCredential.parseRequestOptionsFromJSON` takes. Good for one sign-in of this browser, for five
    minutes.
    """
    browser = shown_presession(request, server)
    if browser is None:
        browser = new_presession()
        keep_presession(response, server, browser)
    return await server.passkeys.sign_in_options(browser)


@router.post("/session/passkey", status_code=201, summary="Sign in with a passkey")
async def begin_by_passkey(
    body: PasskeySignIn, request: Request, response: Response, server: Ours, here: CurrentAccess
) -> OwnSessionOut:
    """Begin a browser session for whoever shows a passkey; no name is needed. See `POST /session`."""
    issued = await server.passkeys.sign_in(
        body.credential, shown_presession(request, server) or "", client=here.client,
        replaces=await here.replaceable(), device=shown_device(request, server),
    )  # fmt: skip
    here.sign_in(issued)
    await keep_device(request, response, server, issued)
    return await own_session_out(server, issued.active)


@router.get("/session", summary="Who am I")
async def show(server: Ours, active: SteppingUp) -> OwnSessionOut:
    """The session that the cookie or the bearer token names."""
    return await own_session_out(server, active)


@router.post("/session/step-up/options", summary="Begin to step up with a passkey")
async def step_up_options(server: Ours, active: SteppingUp) -> dict[str, Any]:
    """What `PublicKeyCredential.parseRequestOptionsFromJSON` takes. Good for one step-up of this session, for five
    minutes.
    """
    return await server.passkeys.step_up_options(active)


@router.post("/session/step-up", summary="Step up, or authenticate again")
async def step_up(body: StepUp, server: Ours, here: CurrentAccess, active: SteppingUp) -> SteppedUpOut:
    """A new authentication event in this session: its token is new, the old one over, both limits start anew.

    A code counts once, and a recovery code's replacement is in the answer.
    """
    issued, replacement = await _prove(server, active, body, here.client)
    here.sign_in(issued)
    return SteppedUpOut.stepped(await own_session_out(server, issued.active), replacement)


async def _prove(server: Server, active: Active, body: StepUp, client: Client) -> tuple[Issued, str | None]:
    """The session after the proof, and of a recovery code the one that takes its place."""
    match body:
        case CodeStepUp():
            return await server.totp.step_up(active, body.code, client=client), None
        case PasskeyStepUp():
            return await server.passkeys.step_up(active, body.credential, client=client), None
        case RecoveryStepUp():
            recovered = await server.recovery_codes.step_up(active, body.code, client=client)
            return recovered.issued, recovered.replacement
        case PasswordStepUp():
            return await server.passwords.verify_again(active, body.password, client=client), None


@router.delete("/session", status_code=204, response_class=Response, summary="Sign out")
async def end(here: CurrentAccess, _active: SteppingUp) -> None:
    """End this session and all whose life hangs on it. The browser's cookie is removed."""
    await here.sign_out()

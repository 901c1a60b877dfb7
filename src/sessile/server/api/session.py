"""`/session`: the session of whoever asks. Sign in, who am I, step up, sign out."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from sessile.factors.passkey import PasskeyRefused
from sessile.factors.password import SignInFailed
from sessile.factors.two_steps import FAILED, SECOND, PreSession
from sessile.fastapi import CurrentAccess
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active
from sessile.kernel.session import Client
from sessile.receipt import Issued
from sessile.server.access import BELOW_POLICY, Ours, SteppingUp
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
from sessile.server.models_signing_in import PreSessionOut
from sessile.server.presession import (
    drop_second,
    keep_presession,
    keep_second,
    new_presession,
    shown_presession,
    shown_second,
)
from sessile.server.problems import problem_of, respond
from sessile.server.proving import own_session_out
from sessile.server.state import Server
from sessile.web.access import Access

router = APIRouter(tags=["Session"])


@router.post("/session", status_code=201, summary="Sign in")
async def begin(
    body: SignIn, request: Request, response: Response, server: Ours, here: CurrentAccess
) -> OwnSessionOut | PreSessionOut:
    """Begin a browser session; its token is in Set-Cookie only. A session that this browser had ends.

    The answer is the same for an unknown name, a wrong password and a disabled principal. Where the browser's session
    had assurance 2 and is over by inactivity alone, the password is enough to be at assurance 2 again, until the
    overall limit of that session.

    Where a policy demands a second factor, the answer is a pre-session, good for one try at the second step within
    five minutes, whether the first step was right or wrong: `POST /session/step-up` then says whether both were. Of
    people who have no second factor yet, and of those whose policy demands none, a right password begins a session.
    """
    begun = await server.two_steps.begin(
        body.username, body.password, client=here.client, replaces=await here.replaceable(),
        device=shown_device(request, server), resumes=await here.idled(),
    )  # fmt: skip
    if isinstance(begun, PreSession):
        keep_second(response, server, begun)
        return PreSessionOut(created=begun.begun, expires=begun.expires, step_up=list(SECOND))
    issued = begun
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
    await _settled(request, response, server, issued)
    await keep_device(request, response, server, issued)
    return await own_session_out(server, issued.active)


@router.get("/session", summary="Who am I")
async def show(server: Ours, active: SteppingUp) -> OwnSessionOut:
    """The session that the cookie or the bearer token names."""
    return await own_session_out(server, active)


async def _between(request: Request, server: Ours, here: CurrentAccess) -> Active | str:
    """Who steps up; or, between the two steps of a sign-in, the pre-session."""
    return shown_second(request, server) or await here.meet(BELOW_POLICY)


Between = Annotated[Active | str, Depends(_between)]


@router.post("/session/step-up/options", summary="Begin to step up with a passkey")
async def step_up_options(server: Ours, between: Between) -> dict[str, Any]:
    """What `PublicKeyCredential.parseRequestOptionsFromJSON` takes. Good for one step-up of this session, for five
    minutes; between the two steps of a sign-in, for that sign-in, and any passkey that the browser has for here.
    """
    if isinstance(between, str):
        return await server.passkeys.sign_in_options(between)
    return await server.passkeys.step_up_options(between)


@router.post(
    "/session/step-up", summary="Step up, authenticate again, or take the second step of a sign-in",
    response_model=SteppedUpOut,
)  # fmt: skip
async def step_up(
    body: StepUp, request: Request, response: Response, server: Ours, here: CurrentAccess, between: Between
) -> SteppedUpOut | Response:
    """A new authentication event in this session: its token is new, the old one over, both limits start anew.

    A code counts once, and a recovery code's replacement is in the answer.

    With the pre-session of a sign-in: the session, if both steps were right. If not, what was wrong is not said, and
    the sign-in begins anew.
    """
    if isinstance(between, str):
        try:
            issued, replacement = await _second_step(request, server, here, between, body)
        except SignInFailed as error:
            failed = respond(problem_of(error))
            drop_second(failed, server)
            return failed
        await keep_device(request, response, server, issued)
        drop_second(response, server)
    else:
        issued, replacement = await _prove(server, between, body, here.client)
    here.sign_in(issued)
    return SteppedUpOut.stepped(await own_session_out(server, issued.active), replacement)


async def _second_step(
    request: Request, server: Server, here: Access, shown: str, body: StepUp
) -> tuple[Issued, str | None]:
    """As `_prove`, where both steps were right. Raises SignInFailed, always the same."""
    replaces = await here.replaceable()
    match body:
        case PasskeyStepUp():
            try:
                issued = await server.passkeys.sign_in(
                    body.credential, shown, client=here.client, replaces=replaces,
                    device=shown_device(request, server),
                )  # fmt: skip
            except PasskeyRefused:
                raise SignInFailed(FAILED) from None
            await server.two_steps.settle(shown, issued)
            return issued, None
        case CodeStepUp() | RecoveryStepUp():
            finished = await server.two_steps.finish(
                shown, Method(body.method), body.code, client=here.client, replaces=replaces
            )
            return finished.issued, finished.replacement or None
        case PasswordStepUp():
            raise SignInFailed(FAILED)


async def _settled(request: Request, response: Response, server: Server, issued: Issued) -> None:
    """A passkey signed in: a first step that this browser had taken before is over."""
    if (shown := shown_second(request, server)) is not None:
        await server.two_steps.settle(shown, issued)
        drop_second(response, server)


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

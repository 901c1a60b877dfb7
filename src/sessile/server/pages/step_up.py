"""`/account/step-up`: a further proof, or the same one anew, and on to what one was doing."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.datastructures import FormData
from starlette.responses import Response

from sessile.factors.enrolled import FRESH, second_factors
from sessile.factors.passkey import PasskeyRefused
from sessile.factors.password import Busy, SignInFailed
from sessile.factors.recovery import RecoveryRefused
from sessile.factors.throttle import Throttled
from sessile.factors.totp import CodeRefused
from sessile.fastapi import CurrentAccess
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Requirement, demand
from sessile.kernel.session import Client
from sessile.receipt import Issued
from sessile.server.access import Ours, SteppingUp
from sessile.server.pages.codes import show_codes
from sessile.server.pages.render import (
    HOME,
    STEP_UP,
    CheckedForm,
    drop,
    go,
    page,
    referring,
    remember,
    remembered,
    text,
)
from sessile.server.pages.sign_in import credential_of, throttled, wait
from sessile.server.pages.typed import keep_typed, purpose_of
from sessile.server.proving import raising
from sessile.server.state import Server, server_of
from sessile.server.wording import TEXTS
from sessile.web.access import Access

router = APIRouter()

SET_UP: Final = f"{HOME}/factors"
"""Where a second factor is added."""
Way = Literal["passkey", "totp", "recovery_code", "password"]
_FIELDS: Final[dict[str, Way]] = {"credential": "passkey", "code": "totp", "recovery_code": "recovery_code"}
"""What a form has that proves by something else than the password."""


@router.get(STEP_UP)
async def ask(
    request: Request, server: Ours, active: SteppingUp, here: CurrentAccess,
    chosen: Annotated[Way | None, Query(alias="with")] = None,
) -> Response:  # fmt: skip
    back = remembered(request)
    ways = await _ways(server, active, back)
    if not ways:
        return page(request, "second_factor.html", active=active)
    response = _form(request, server, here, active, ways, chosen)
    if back is None and request.headers.get("sec-fetch-site") == "same-origin":
        # By a link, such as that of the dialog of open tabs: back to where the person was.
        remember(server, response, referring(request))
    return response


@router.post(STEP_UP)
async def step_up(
    request: Request, server: Ours, active: SteppingUp, here: CurrentAccess, form: CheckedForm
) -> Response:
    ways: list[Way] = await _ways(server, active, remembered(request)) or ["password"]
    chosen: Way = next((way for name, way in _FIELDS.items() if name in form), "password")
    try:
        issued, replacement = await _prove(server, active, chosen, form, here.client)
    except (SignInFailed, CodeRefused, PasskeyRefused, RecoveryRefused):
        said = {
            "password": TEXTS.step_up.wrong, "totp": TEXTS.step_up.wrong_code, "passkey": TEXTS.passkey.refused_here,
            "recovery_code": TEXTS.recovery_codes.wrong,
        }  # fmt: skip
        return _form(request, server, here, active, ways, chosen, status=422, error=said[chosen])
    except (Busy, Throttled) as error:
        return throttled(_form(request, server, here, active, ways, chosen, status=429, error=wait(error)), error)
    here.sign_in(issued)
    path = remembered(request) or HOME
    if replacement:
        response: Response = show_codes(request, issued.active, [replacement], path, replacement=True)
    else:
        response = go(path)
    drop(response, server.return_cookie)
    return response


async def _prove(
    server: Server, active: Active, way: Way, form: FormData, client: Client
) -> tuple[Issued, str]:  # fmt: skip
    """The session after the proof, and of a recovery code the one that takes its place."""
    if way == "totp":
        return await server.totp.step_up(active, text(form, "code")[:64], client=client), ""
    if way == "passkey":
        return await server.passkeys.step_up(active, credential_of(form), client=client), ""
    if way == "recovery_code":
        done = await server.recovery_codes.step_up(active, text(form, "recovery_code")[:64], client=client)
        return done.issued, done.replacement
    return await server.passwords.verify_again(active, text(form, "password"), client=client), ""


def step_up_first(request: Request, here: Access, purpose: str, path: str, /, **typed: str) -> Response:
    """Ask for a proof, then go on to `path`. The session keeps what it is for and what was `typed` there."""
    response = go(STEP_UP)
    remember(server_of(request), response, path)
    keep_typed(here, path, typed, purpose=purpose)
    return response


async def _ways(server: Server, active: Active, path: str | None) -> list[Way]:
    """How this session can prove its person, the one that helps most first. None: a second factor is to be set up."""
    factors = second_factors(await server.factors.of(active.session.uid or ""))
    below = await _below_policy(server, active)
    higher = [_WAYS[method] for method in await raising(server, active)]
    if higher and (below or active.session.assurance < 2):
        return higher
    if not factors and below and _fresh(server, active):
        return []
    own: list[Way] = [_WAYS[method] for method in factors]
    if own and path is not None and path.startswith(SET_UP):
        # Only by a factor that one has does one change those (`enrolled.demand_factor`).
        codes = await server.recovery_codes.of(active.session.uid or "") is not None
        return [*own, "recovery_code"] if codes else own
    ways: list[Way] = [*(way for way in own if way == "passkey"), "password", *(way for way in own if way != "passkey")]
    # What was shown a moment ago comes last: the overall limit starts anew when all has been shown again.
    shown = {event.method for event in active.session.authentications if server.now() - event.at < FRESH}
    return sorted(ways, key=lambda way: way in shown)


_WAYS: Final[dict[Method, Way]] = {
    Method.PASSKEY: "passkey", Method.TOTP: "totp", Method.RECOVERY_CODE: "recovery_code",
}  # fmt: skip


async def _below_policy(server: Server, active: Active) -> bool:
    session, store = active.session, server.authority.store
    principal = await store.principal(uid=session.uid)
    policy = await store.policy(principal.policy) if principal is not None else None
    return policy is not None and session.assurance < policy.assurance


def _fresh(server: Server, active: Active) -> bool:
    return demand(active.session, Requirement(fresh=FRESH), server.now()) is None


def _form(
    request: Request, server: Server, here: Access, active: Active, ways: list[Way], chosen: Way | None, *,
    status: int = 200, **context: Any,
) -> Response:  # fmt: skip
    path = remembered(request)
    if said := purpose_of(here, path):
        purpose = said
    elif path is not None and path.startswith("/console"):
        purpose = TEXTS.step_up.for_operator
    elif path is not None and path.startswith(SET_UP):
        purpose = TEXTS.step_up.for_factor
    elif ways[0] != "password" and active.session.assurance < 2:
        purpose = TEXTS.step_up.for_second_factor
    else:
        purpose = TEXTS.step_up.for_anything
    way = chosen if chosen in ways else ways[0]
    return page(
        request, "step_up.html", status=status, active=active, purpose=purpose, way=way,
        others=[one for one in ways if one != way], cancel_href=_back(path, active, here), **context,
    )  # fmt: skip


def _back(path: str | None, active: Active, here: Access) -> str:
    # Below its policy a session has nowhere to go back to.
    return (path or HOME) if here.active is not None else "/logout"

"""`/account/step-up`: a further proof, or the same one anew, and on to what one was doing."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from sessile.factors.enrolled import FRESH, second_factors
from sessile.factors.password import Busy, SignInFailed
from sessile.factors.throttle import Throttled
from sessile.factors.totp import CodeRefused
from sessile.fastapi import CurrentAccess
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Requirement, demand
from sessile.server.access import Ours, SteppingUp
from sessile.server.pages.render import HOME, STEP_UP, CheckedForm, drop, go, page, remember, remembered, text
from sessile.server.pages.sign_in import throttled, wait
from sessile.server.proving import raising
from sessile.server.state import Server, server_of
from sessile.server.wording import TEXTS
from sessile.web.access import Access

router = APIRouter()

SET_UP: Final = f"{HOME}/factors"
"""Where a second factor is added."""
_KEPT: Final = "step_up"
_LARGEST_KEPT: Final = 1_000
Way = Literal["password", "totp"]


@router.get(STEP_UP)
async def ask(
    request: Request, server: Ours, active: SteppingUp, here: CurrentAccess,
    chosen: Annotated[Way | None, Query(alias="with")] = None,
) -> Response:  # fmt: skip
    ways = await _ways(server, active)
    if not ways:
        return page(request, "second_factor.html", active=active, href=f"{SET_UP}/totp")
    return _form(request, server, here, active, ways, chosen)


@router.post(STEP_UP)
async def step_up(
    request: Request, server: Ours, active: SteppingUp, here: CurrentAccess, form: CheckedForm
) -> Response:
    ways: list[Way] = await _ways(server, active) or ["password"]
    chosen: Way = "totp" if text(form, "code") else "password"
    try:
        if chosen == "totp":
            issued = await server.totp.step_up(active, text(form, "code")[:64], client=here.client)
        else:
            issued = await server.passwords.verify_again(active, text(form, "password"), client=here.client)
    except SignInFailed:
        return _form(request, server, here, active, ways, chosen, status=422, error=TEXTS.step_up.wrong)
    except CodeRefused:
        return _form(request, server, here, active, ways, chosen, status=422, error=TEXTS.step_up.wrong_code)
    except (Busy, Throttled) as error:
        return throttled(_form(request, server, here, active, ways, chosen, status=429, error=wait(error)), error)
    here.sign_in(issued)
    response = go(remembered(request) or HOME)
    drop(response, server.return_cookie)
    return response


def step_up_first(request: Request, here: Access, purpose: str, path: str, **typed: str) -> Response:
    """Ask for a proof, then go on to `path`. The session keeps what it is for and what was `typed` there."""
    response = go(STEP_UP)
    remember(server_of(request), response, path)
    here.data[_KEPT] = {
        "purpose": purpose, "path": path, "typed": {name: value[:_LARGEST_KEPT] for name, value in typed.items()},
    }  # fmt: skip
    return response


def typed_before(here: Access, path: str) -> dict[str, str]:
    """What was typed on the page `path` before the step-up, once."""
    kept = here.data.get(_KEPT)
    if not isinstance(kept, dict) or kept.get("path") != path:
        return {}
    del here.data[_KEPT]
    typed = kept.get("typed")
    return typed if isinstance(typed, dict) else {}


async def _ways(server: Server, active: Active) -> list[Way]:
    """How this session can prove its person, the one that helps most first. None: a second factor is to be set up."""
    factors = second_factors(await server.factors.of(active.session.uid or ""))
    if await raising(server, active):
        return ["totp"]
    if not factors and await _below_policy(server, active) and _fresh(server, active):
        return []
    return ["password", "totp"] if Method.TOTP in factors else ["password"]


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
    kept = here.data.get(_KEPT)
    if isinstance(kept, dict) and kept.get("path") == path:
        purpose = str(kept.get("purpose"))
    elif path is not None and path.startswith("/console"):
        purpose = TEXTS.step_up.for_operator
    elif path is not None and path.startswith(SET_UP):
        purpose = TEXTS.step_up.for_factor
    elif "totp" in ways[:1]:
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

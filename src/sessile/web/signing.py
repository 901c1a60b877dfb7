"""Signing in, stepping up: what the helpers of every framework do."""

from __future__ import annotations

from sessile.kernel.assurance import Method
from sessile.kernel.session import Session
from sessile.signing_in import SignIn
from sessile.web.access import Access


async def sign_in(here: Access, who: str | SignIn, *, method: Method | str) -> Session:
    """Begin a session for a person who has just proved itself by `method`, and hand its token to the browser.

    The session that this browser held so far ends.

    Raises:
        Conflict: the principal is disabled, or its password changed meanwhile. LimitExceeded: too many sessions.
        ValueError: not a name or a method.
    """
    replaces = await here.replaceable()
    if isinstance(who, SignIn):
        issued = await who.begin(method=method, client=here.client, replaces=replaces)
    else:
        issued = await here.authority.begin(who, method=method, client=here.client, replaces=replaces)
    here.sign_in(issued)
    return issued.active.session


async def step_up(here: Access, *, method: Method | str) -> Session:
    """The person of this session has proved itself anew by `method`: assurance follows, and the token is new.

    Raises:
        AccessDenied: no person's session. Conflict: it is over. ValueError: not a method.
    """
    active = await here.require(below_policy=True)
    issued = await here.authority.elevate(active, method=method, client=here.client)
    here.sign_in(issued)
    return issued.active.session

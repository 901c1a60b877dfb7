"""`/revoke`: whoever holds a token may end it (RFC 7009)."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from math import ceil
from typing import Annotated, Final

from fastapi import APIRouter, Form, HTTPException, Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Requirement
from sessile.kernel.event import Actor
from sessile.kernel.reason import Reason
from sessile.kernel.token import TokenKind
from sessile.kernel.tries import Limit
from sessile.server.access import Ours
from sessile.strangers import network

router = APIRouter(tags=["Tokens"])

BURST: Final = 60
EVERY: Final = timedelta(seconds=1)
"""So many tokens at once, and one more each second, from one network: whoever cleans up after a leak has enough."""

_STILL_HELD = frozenset({Reason.UNBOUND, Reason.ASSURANCE, Reason.STALE_AUTHENTICATION})
"""Denials of a token that is its session's own and only lacks something."""

Token = Annotated[str, Form(min_length=1, max_length=4096)]
Hint = Annotated[str | None, Form(max_length=64, description="Taken and not needed.")]


@router.post("/revoke", response_class=Response, summary="End a token that one holds")
async def revoke(token: Token, server: Ours, here: CurrentAccess, token_type_hint: Hint = None) -> Response:
    """Possession is the right, and no sign-in is asked for: whoever finds a leaked token may end it. The answer
    is 200 with no content whatever the token was; 429 where too many came from one network, likewise.
    """
    # Counted before the token is looked at, so that the limit tells nothing of it either.
    exhausted = await server.authority.store.count_try([_limit(here.client.ip)])
    if exhausted is not None:
        wait = ceil((exhausted.wait or EVERY).total_seconds())
        raise HTTPException(429, headers={"Retry-After": str(wait)})
    found = await server.authority.check(token, requirement=Requirement(below_policy=True), touch=False)
    session = found.session.id if found else found.session if found.reason in _STILL_HELD else None
    if session is not None:
        by = Actor(name="holder", client=here.client)
        await server.authority.revoke(session=session, cause="ended by its holder", by=by)
        if token.startswith(TokenKind.KEY):
            # Whoever ends a key like this found it, as a rule: what handed it out is named to operators.
            await server.authority.found_in_the_open(
                token, where=here.client.ip or "unknown", reporter="its holder", client=here.client
            )
    return Response(status_code=200)


def _limit(ip: str | None) -> Limit:
    return Limit(key=sha256(f"revoke {network(ip) or 'unknown'}".encode()).digest(), burst=BURST, every=EVERY)

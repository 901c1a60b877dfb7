"""`/revoke`: whoever holds a token may end it (RFC 7009)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Response

from sessile.fastapi import CurrentAccess
from sessile.kernel.decide import Requirement
from sessile.kernel.event import Actor
from sessile.kernel.reason import Reason
from sessile.server.access import Ours

router = APIRouter(tags=["Tokens"])

_STILL_HELD = frozenset({Reason.UNBOUND, Reason.ASSURANCE})
"""Denials of a token that is its session's own and only lacks something."""

Token = Annotated[str, Form(min_length=1, max_length=4096)]
Hint = Annotated[str | None, Form(max_length=64, description="Taken and not needed.")]


@router.post("/revoke", response_class=Response, summary="End a token that one holds")
async def revoke(token: Token, server: Ours, here: CurrentAccess, token_type_hint: Hint = None) -> Response:
    """Possession is the right, and no sign-in is asked for: whoever finds a leaked token may end it. The answer
    is 200 with no content whatever the token was.
    """
    found = await server.authority.check(token, requirement=Requirement(below_policy=True), touch=False)
    session = found.session.id if found else found.session if found.reason in _STILL_HELD else None
    if session is not None:
        await server.authority.revoke(
            session=session, cause="ended by its holder", by=Actor(name="holder", client=here.client)
        )
    return Response(status_code=200)

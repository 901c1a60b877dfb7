"""How a person can prove itself further: shared by the API and the pages."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.factors.enrolled import second_factors
from sessile.kernel.assurance import Authentication, Method, assurance
from sessile.kernel.decide import Active
from sessile.server.models import OwnSessionOut
from sessile.server.state import Server


async def raising(server: Server, active: Active) -> Sequence[Method]:
    """The methods that this person has and that would raise the assurance of this session."""
    session = active.session
    if session.uid is None or session.authenticated is None:
        return []
    at, known = session.authenticated, session.authentications
    return [
        method
        for method in second_factors(await server.factors.of(session.uid))
        if assurance((*known, Authentication(method, at))) > session.assurance
    ]


async def own_session_out(server: Server, active: Active) -> OwnSessionOut:
    """The session, as its holder sees it."""
    return OwnSessionOut.own(await server.authority.session(active.session.id), await raising(server, active))

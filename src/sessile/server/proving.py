"""How a person can prove itself further: shared by the API and the pages."""

from __future__ import annotations

from collections.abc import Sequence

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
    has = [(factor.method, factor.proves) for factor in await server.factors.of(session.uid)]
    if await server.recovery_codes.of(session.uid) is not None:
        has.append((Method.RECOVERY_CODE, Method.RECOVERY_CODE))
    higher = [method for method, proves in has if assurance((*known, Authentication(proves, at))) > session.assurance]
    return list(dict.fromkeys(higher))


async def own_session_out(server: Server, active: Active) -> OwnSessionOut:
    """The session, as its holder sees it."""
    return OwnSessionOut.own(await server.authority.session(active.session.id), await raising(server, active))

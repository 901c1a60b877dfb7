"""What one may end, and how: shared by the API and the pages."""

from __future__ import annotations

from sessile.errors import NotFound
from sessile.kernel.decide import Active
from sessile.kernel.session import SessionInfo, SessionKind
from sessile.receipt import Receipt
from sessile.server.state import Server
from sessile.stores.protocol import End

ENDED_BY_ONESELF = "ended by its person"
ENDED_OTHERS = "signed out everywhere else"


async def own_session(server: Server, active: Active, session_id: str) -> SessionInfo:
    """One of one's own sessions, or one that a session of one's own handed out.

    Raises:
        NotFound: the same for another's session and for none (ASVS V8.2.2).
    """
    info = await server.authority.session(session_id)
    if active.session.principal in await _people(server, info):
        return info
    raise NotFound(f"no session {session_id}")


async def own_key(server: Server, active: Active, session_id: str) -> SessionInfo:
    """A key that one handed out, or of a service or agent that one answers for. Raises NotFound."""
    return await _own(server, active, session_id, SessionKind.KEY)


async def own_lease(server: Server, active: Active, session_id: str) -> SessionInfo:
    """A lease that one handed out, or of a service or agent that one answers for. Raises NotFound."""
    return await _own(server, active, session_id, SessionKind.LEASE)


async def end_others(server: Server, active: Active) -> Receipt:
    """Every other session of the person, in one transaction."""
    session = active.session
    return await server.authority.end(End(uid=session.uid, cause=ENDED_OTHERS, keep=session.id), by=active)


async def _own(server: Server, active: Active, session_id: str, kind: SessionKind) -> SessionInfo:
    info = await server.authority.session(session_id)
    if info.kind is kind:
        if active.session.principal in await _people(server, info):
            return info
        whose = await server.authority.store.principal(name=info.principal) if info.principal else None
        if whose is not None and await server.authority.answers(active.session.uid, whose):
            return info
    raise NotFound(f"no {kind} {session_id}")


async def _people(server: Server, info: SessionInfo) -> set[str | None]:
    """Who may end a session for being its principal or the one whose session handed it out."""
    names = {info.principal}
    if info.origin is not None:
        names.add((await server.authority.session(info.origin)).principal)
    return names - {None}

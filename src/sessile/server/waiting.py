"""Whose approval is asked for: what a session is shown of it."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.kernel.decide import Active
from sessile.kernel.principal import OPERATOR, covers
from sessile.kernel.work import Work
from sessile.server.state import Server


def may_see(active: Active, work: Work) -> bool:
    """Whether somebody else's request for approval is shown: to those who hold what it asks for."""
    session = active.session
    if session.uid in work.behind:
        return False
    return OPERATOR in session.scopes or (bool(work.scope) and covers(session.scopes, frozenset({work.scope})))


async def asked_of(server: Server, active: Active) -> Sequence[Work]:
    """What waits for this person's approval."""
    return [work for work in await server.authority.approvals() if work.giver is None and may_see(active, work)]

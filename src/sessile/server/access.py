"""Who is asking, and what a route demands of them, as dependencies."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import Depends, Path, Query

from sessile.fastapi import CurrentAccess, CurrentActive, require
from sessile.kernel.decide import Active, Denied, Requirement
from sessile.kernel.principal import OPERATOR
from sessile.kernel.reason import Reason
from sessile.kernel.session import Session
from sessile.server.models import FACTOR_ID, SESSION_ID, Name
from sessile.server.state import Server, server_of
from sessile.web.access import Access, AccessDenied

FRESH: Final = Requirement(fresh=timedelta(minutes=15))
"""For ending one's own sessions (ASVS V7.5.2)."""
FRESH_PERSON: Final = Requirement(fresh=timedelta(minutes=5))
"""For being shown a secret."""
FRESH_OPERATOR: Final = Requirement(fresh=timedelta(minutes=5), scopes=frozenset({OPERATOR}))
"""For what an operator does to everybody and to a principal's status."""
SECOND_FACTOR: Final = Requirement(assurance=2, scopes=frozenset({OPERATOR}))
"""For operators who have a second factor."""
OPERATORS: Final = Requirement(scopes=frozenset({OPERATOR}))
BELOW_POLICY: Final = Requirement(below_policy=True)

Ours = Annotated[Server, Depends(server_of)]
"""The server that the route belongs to."""
SessionPath = Annotated[str, Path(pattern=SESSION_ID, description="The public id of a session.")]
PrincipalPath = Annotated[Name, Path(description="A user name, `service:NAME` or `agent:NAME`.")]
After = Annotated[str | None, Query(max_length=256, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=100, description="Items of a page, at most.")]


async def _stepping_up(here: CurrentAccess, _session: Annotated[Session, require(below_policy=True)]) -> Active:
    return await here.meet(BELOW_POLICY)


async def _operator(
    here: CurrentAccess, active: CurrentActive, server: Ours, _session: Annotated[Session, require(scopes={OPERATOR})]
) -> Active:
    return await meet_operator(here, active, server)


async def meet_operator(here: Access, active: Active, server: Server) -> Active:
    """Who holds the scope `operator`; with both factors, if they have a second one. Raises AccessDenied."""
    await here.meet(OPERATORS)
    session = active.session
    if session.assurance < 2 and session.uid is not None and await server.factors.of(session.uid):
        # Whoever has a second factor acts on others with both.
        denied = Denied(reason=Reason.ASSURANCE, session=session.id)
        raise AccessDenied(denied, SECOND_FACTOR, bearer=here.bearer)
    return active


async def _fresh(here: CurrentAccess, _active: CurrentActive) -> Active:
    return await here.meet(FRESH)


Person = CurrentActive
"""Anybody with a live session: a person, an agent or a service."""
SteppingUp = Annotated[Active, Depends(_stepping_up)]
"""The same, and also a session whose assurance is below its policy's."""
Fresh = Annotated[Active, Depends(_fresh)]
"""A person who proved itself in the last 15 minutes."""
Operator = Annotated[Active, Depends(_operator)]
"""Who holds the scope `operator`; with both factors, if they have a second one."""
FactorPath = Annotated[str, Path(pattern=FACTOR_ID, description="The id of a factor.")]

"""An operator acts as somebody else, visibly and for a short time (decision 13)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sessile.errors import Refused, refused
from sessile.kernel.decide import Active, Requirement, demand
from sessile.kernel.principal import OPERATOR, RESERVED_SCOPES, PrincipalKind
from sessile.kernel.session import Client, SessionKind, Tie
from sessile.kernel.token import TokenKind
from sessile.receipt import Issued

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

LONGEST: Final = timedelta(minutes=15)
"""The longest that an operator acts as somebody else without beginning anew."""
_NEEDED: Final = Requirement(fresh=timedelta(minutes=5), scopes=frozenset({OPERATOR}))


async def impersonate(
    authority: NonHuman, active: Active, name: str, *, cause: str, lifetime: timedelta | None, client: Client | None
) -> Issued:
    """See `Authority.impersonate`."""
    if not 0 < len(cause) <= 200:
        raise ValueError("say why, in 1 to 200 characters: the person reads it")
    session = active.session
    if (denied := demand(session, _NEEDED, authority.clock.now())) is not None:
        raise Refused("acting as somebody else needs an operator who proved itself in the last five minutes", denied)
    target = await authority.principal(name)
    if target.kind is not PrincipalKind.HUMAN or target.uid == session.uid:
        raise refused(session, "one acts as another person; agents and services are handed delegations")
    if target.scopes & RESERVED_SCOPES:
        raise refused(session, f"{target.name} has rights over Sessile itself: nobody acts as them")
    return await authority.hand_out(
        active, SessionKind.DELEGATED, TokenKind.BROWSER, target, Tie.PARENT, scopes=target.scopes,
        lifetime=min(lifetime or LONGEST, LONGEST), label=cause, client=client,
    )  # fmt: skip

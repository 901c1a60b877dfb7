"""Tokens that were found in the open: ended at once, and what handed them out is named, to be contained."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from sessile.kernel.event import Actor, Event, EventName, about
from sessile.kernel.session import Client, SessionKind
from sessile.kernel.token import digest
from sessile.kernel.trace import LONGEST, Trace, TraceKind
from sessile.stores.noticing import Noticed

if TYPE_CHECKING:
    from sessile.nhi.authority import NonHuman

FOUND = "found in the open"


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was found where none should be. Safe to keep and to show."""

    session: str
    kind: SessionKind | None
    """None: it is so long over that nothing is left of it."""
    principal: str | None
    where: str
    reporter: str
    at: datetime
    origin: str | None
    """The session that handed it out: whoever holds it may have more of the same, so contain it if it was not you."""
    origin_live: bool


async def report(authority: NonHuman, token: str, *, where: str, reporter: str, client: Client | None) -> bool:
    """See `Authority.found_in_the_open`."""
    snapshot = await authority.store.read(digest(token))
    if snapshot is None:
        return False
    session, now = snapshot.session, authority.clock.now()
    by = Actor(name="finder", client=client or Client())
    trace = Trace(
        subject=session.id, kind=TraceKind.LEAKED, what=_shown(where), how=_shown(reporter), first=now, last=now
    )
    event = Event(
        name=EventName.TOKEN_LEAKED, principal=session.principal, uid=session.uid, session=session.id, by=by,
        cause=FOUND,
        details=about(session, EventName.TOKEN_LEAKED.value)
        | {"where": _shown(where), "reporter": _shown(reporter), "origin": session.origin or ""},
    )  # fmt: skip
    # Written before it is ended: where both cannot be done, the report is repeated.
    await authority.store.notice([Noticed(trace, event)])
    await authority.revoke(session=session.id, cause=FOUND, by=by)
    return True


async def leaks(authority: NonHuman, since: datetime | None) -> Sequence[Leak]:
    """See `Authority.leaks`."""
    found = []
    for trace in await authority.store.traces(kind=TraceKind.LEAKED, since=since):
        info = await authority.store.session(trace.subject)
        above = await authority.store.session(info.origin) if info is not None and info.origin is not None else None
        found.append(
            Leak(
                session=trace.subject, kind=info.kind if info else None, principal=info.principal if info else None,
                where=trace.what, reporter=trace.how, at=trace.last, origin=info.origin if info else None,
                origin_live=above is not None and above.live,
            )
        )  # fmt: skip
    return found


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:LONGEST])

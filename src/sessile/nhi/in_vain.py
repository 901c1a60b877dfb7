"""A token of an agent or a service that counts for nothing and is used all the same: recorded, with why it does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import msgspec

from sessile.errors import SessileError
from sessile.kernel.decide import Denied, Snapshot
from sessile.kernel.event import Event, EventName, denied_event
from sessile.kernel.principal import Status
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, Tie
from sessile.nhi.traces import Traces
from sessile.stores import Backend

_ENDINGS: Final = (
    EventName.PRINCIPAL_REVOKED, EventName.PRINCIPAL_CONTAINED, EventName.PRINCIPAL_DISABLED,
    EventName.PRINCIPAL_DELETED, EventName.PASSWORD_SET,
)  # fmt: skip
"""Of a principal, what changes its epoch and is no enabling."""


async def note(store: Backend, traces: Traces, snapshot: Snapshot, denied: Denied, client: Client | None) -> None:
    """Note that the token was used, and at the first time why it was denied. Never raises."""
    session = snapshot.session
    if session.kind.is_a_persons or denied.reason is Reason.REPLAYED:  # that one ends something, and is told of so
        return
    if not traces.knows(session.id, denied.reason):
        with contextlib.suppress(SessileError):
            denied = await explained(store, snapshot, denied)
    traces.refused(session, denied_event(session, denied, client or Client()), denied.reason)


async def explained(store: Backend, snapshot: Snapshot, denied: Denied) -> Denied:
    """The denial with the cause of the ending, and by whom it was: the record knows where the session does not."""
    if denied.reason not in (Reason.REVOKED, Reason.DISABLED) or snapshot.session.ended is not None:
        return denied
    ending = await _ending(store, snapshot, denied)
    if ending is None:
        return denied
    return msgspec.structs.replace(denied, cause=ending.cause, by=ending.by.name, at=ending.at)


async def _ending(store: Backend, snapshot: Snapshot, denied: Denied) -> Event | None:
    said = await store.events(session=snapshot.session.id, names=(EventName.SESSION_OVER,), latest=True, limit=1)
    if said and isinstance(n := said[0].details.get("ending"), int):
        return next(iter(await store.events(after=n - 1, limit=1)), None)
    # It was not told yet: that takes a second.
    if denied.cause == "everyone":
        return next(iter(await store.events(names=(EventName.EVERYONE_REVOKED,), latest=True, limit=1)), None)
    for session, uid in _over(snapshot):
        names = (EventName.SESSION_CONTAINED, EventName.SESSION_REVOKED) if session is not None else _ENDINGS
        found = await store.events(session=session, uid=uid, names=names, latest=True, limit=1)
        if found:
            return found[0]
    return None


def _over(snapshot: Snapshot) -> Iterator[tuple[str | None, str | None]]:
    """The sessions and principals above, and the session's own, whose end may be why."""
    own, principal = snapshot.session, snapshot.principal
    if principal is not None and (principal.status is not Status.ACTIVE or principal.epoch != own.epoch):
        yield None, principal.uid
    for above in snapshot.ancestors:
        session, principal, parent = above.session, above.principal, above.link.tie is Tie.PARENT
        if session is not None and (session.contained_since is not None or (parent and session.ended is not None)):
            yield session.id, None
        if principal is None:
            continue
        gone = principal.status is not Status.ACTIVE or (session is not None and principal.epoch != session.epoch)
        if principal.contained_since is not None or (parent and gone):
            yield None, principal.uid

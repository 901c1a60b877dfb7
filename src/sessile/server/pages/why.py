"""Why somebody landed on the login page: what the presented cookie was denied for, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from sessile.errors import NotFound
from sessile.kernel.decide import Denied
from sessile.kernel.event import Event, EventName
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionInfo
from sessile.server.state import Server
from sessile.server.wording import TEXTS

_OF_PRINCIPAL = frozenset({
    EventName.PASSWORD_SET, EventName.PRINCIPAL_REVOKED, EventName.PRINCIPAL_CONTAINED, EventName.PRINCIPAL_DISABLED,
    EventName.PRINCIPAL_ENABLED, EventName.PRINCIPAL_DELETED, EventName.PRINCIPAL_CHANGED,
})  # fmt: skip
_OF_SESSION = frozenset({EventName.SESSION_REVOKED, EventName.SESSION_CONTAINED})
_LOOKED_AT = 100


async def why(server: Server, denied: Denied) -> str:
    """The sentence. It is for the holder of the session's own token: others learn nothing of it."""
    now = server.now()
    try:
        info = await server.authority.session(denied.session) if denied.session is not None else None
    except NotFound:
        info = None
    if info is None:
        return TEXTS.why(denied, now)
    device = ""
    if denied.reason is Reason.REVOKED:
        event = await _ending(server, denied, info)
        if event is not None:
            denied = msgspec.structs.replace(denied, at=event.at, cause=event.cause, by=event.by.name)
            device = event.by.client.label
    return TEXTS.why(denied, now, person=info.principal, device=device, limit=_limit(denied, info))


async def _ending(server: Server, denied: Denied, info: SessionInfo) -> Event | None:
    """The event that ended the session. Where an epoch ended it, the session itself does not say."""
    store = server.authority.store
    if info.ended is not None:
        return _first(await store.events(session=info.id, latest=True, limit=_LOOKED_AT), _OF_SESSION, info)
    if denied.cause == "everyone":
        everyone = frozenset({EventName.EVERYONE_REVOKED})
        return _first(await store.events(latest=True, limit=_LOOKED_AT * 10), everyone, info)
    principal = await store.principal(name=info.principal) if info.principal is not None else None
    if principal is None:
        return None
    return _first(await store.events(uid=principal.uid, latest=True, limit=_LOOKED_AT), _OF_PRINCIPAL, info)


def _first(events: Sequence[Event], names: frozenset[EventName], info: SessionInfo) -> Event | None:
    return next((e for e in events if e.name in names and e.at is not None and e.at >= info.created), None)


def _limit(denied: Denied, info: SessionInfo) -> timedelta | None:
    if denied.reason is Reason.IDLE and info.idle_expires is not None:
        return info.idle_expires - info.last_seen
    if denied.reason is Reason.EXPIRED:
        proved = max((event.at for event in info.authentications), default=info.created)
        return info.expires - proved
    return None

"""Known devices: browsers on which somebody signed in before, kept by what they show, to be listed and forgotten.

What a device shows signs nobody in and replaces no factor (NIST SP 800-63B-4, 5.1: remember-me SHALL NOT stand in for
authentication; decision 21). It is a way in while strangers guess (`throttle`), and no new-sign-in notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec

from sessile.authority import Authority
from sessile.errors import NotFound
from sessile.factors.throttle import Throttle
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.ids import id_of
from sessile.receipt import Issued
from sessile.stores.protocol import Credential

KIND: Final = "device"
MOST: Final = 20
"""Known devices of one person; one more, and the one that was used longest ago is forgotten."""
KEPT: Final = timedelta(days=180)
"""Since its last sign-in a device is known for so long."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A known device to show."""

    id: str
    label: str
    """In words, such as «Firefox on Linux»."""
    ip: str | None
    """Where it was at its last sign-in."""
    added: datetime
    used: datetime
    """Its last sign-in."""


class _Record(msgspec.Struct, frozen=True):
    label: str
    ip: str | None
    added: datetime
    used: datetime


_encode = msgspec.json.Encoder().encode
_record = msgspec.json.Decoder(_Record).decode


class Devices:
    """The known devices of an authority's people."""

    def __init__(self, authority: Authority, throttle: Throttle) -> None:
        self._authority = authority
        self._throttle = throttle

    async def known(self, shown: str | None, uid: str) -> str | None:
        """The id of the device that `shown` names, if it is one of this person's that was not forgotten."""
        one = self._throttle.device_id(shown, uid)
        if one is None:
            return None
        id_ = _public(one)
        stored = await self._authority.store.credential(uid, KIND, id_)
        return id_ if stored is not None and self._in_time(stored) else None

    async def remember(self, shown: str | None, issued: Issued) -> tuple[str, bool]:
        """The person signed in on a browser that showed `shown`. What it shows from now on, and whether it is new: that
        is an event, written before this returns."""
        session = issued.active.session
        uid = session.uid or ""
        store, now = self._authority.store, self._authority.clock.now()
        if (id_ := await self.known(shown, uid)) is not None and shown is not None:
            stored = await store.credential(uid, KIND, id_)
            added = _record(stored.value).added if stored is not None else now
            value = _encode(_Record(session.client.label, session.client.ip, added, now))
            # Only where it still is what it was: one that is forgotten at this moment stays so.
            if stored is not None and await store.set_credential(
                Credential(uid=uid, kind=KIND, id=id_, value=value), instead_of=stored.value
            ):
                return shown, False
        await self._make_room(uid)
        shown = self._throttle.new_device(uid)
        id_ = _public(self._throttle.device_id(shown, uid) or "")
        value = _encode(_Record(session.client.label, session.client.ip, now, now))
        event = _event(EventName.DEVICE_ADDED, session.principal, uid, id_, actor_of(issued.active), session.id)
        await store.set_credential(Credential(uid=uid, kind=KIND, id=id_, value=value), event)
        return shown, True

    async def of(self, uid: str) -> Sequence[Device]:
        """A person's known devices, the last used first."""
        found = [one for one in await self._authority.store.credentials(uid) if one.kind == KIND and self._in_time(one)]
        return sorted(map(_shown, found), key=lambda device: device.used, reverse=True)

    async def forget(self, active: Active, id: str) -> None:
        """From now on it is a stranger: to the throttle, and a sign-in on it is told anew. Its sessions go on.

        Raises:
            NotFound: no such device of this person.
        """
        session = active.session
        uid = session.uid or ""
        event = _event(EventName.DEVICE_FORGOTTEN, session.principal, uid, id, actor_of(active), session.id)
        if not await self._authority.store.remove_credential(uid, KIND, id, event):
            raise NotFound(f"no known device {id}")

    def _in_time(self, stored: Credential) -> bool:
        return self._authority.clock.now() < _record(stored.value).used + KEPT

    async def _make_room(self, uid: str) -> None:
        found = [one for one in await self._authority.store.credentials(uid) if one.kind == KIND]
        found.sort(key=lambda one: _record(one.value).used, reverse=True)
        for one in found[MOST - 1 :]:
            await self._authority.store.remove_credential(uid, KIND, one.id, value=one.value)


def _public(one: str) -> str:
    """What a device is called where people see it: it shows nobody how to be that device."""
    return id_of("dev", sha256(one.encode()).digest())


def _shown(stored: Credential) -> Device:
    record = _record(stored.value)
    return Device(id=stored.id, label=record.label, ip=record.ip, added=record.added, used=record.used)


def _event(name: EventName, principal: str | None, uid: str, id_: str, by: Actor, session: str) -> Event:
    return Event(name=name, principal=principal, uid=uid, session=session, by=by, details={"device": id_})

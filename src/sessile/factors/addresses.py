"""E-mail addresses of people: where notices go, and links for those who forgot their password.

An address counts once a link that was sent to it was followed (NIST SP 800-63B-4, 4.2.1.2). It proves nobody: no
session begins by mail (3.1.3.1).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from sessile.authority import Authority
from sessile.errors import Conflict, LimitExceeded, NotFound
from sessile.factors.links import Links, Purpose
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.ids import id_of
from sessile.kernel.principal import Principal, PrincipalKind
from sessile.kernel.session import Client
from sessile.stores.protocol import Credential

KIND: Final = "address"
MOST: Final = 5
"""Addresses of one person."""
LONGEST: Final = 254
"""RFC 5321, 4.5.3.1.3, without its brackets."""
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# As browsers take one in a form (HTML, 4.10.5.1.5): nothing in it needs quoting in a header.
_SHAPE: Final = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_REMOVED: Final = timedelta(days=7)
"""How long a removed one is kept at most, to be told that it was."""
_ATTEMPTS: Final = 5


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address to show."""

    id: str
    address: str
    added: datetime
    confirmed: datetime | None
    """None: nobody has followed the link yet, and nothing else is sent to it."""

    @property
    def masked(self) -> str:
        return masked(self.address)


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    added: datetime
    confirmed: datetime | None = None
    removed: datetime | None = None


class Addresses:
    """The addresses of an authority's people. Who may change them is for the caller to say (`Factors.may_change`)."""

    def __init__(self, authority: Authority, links: Links) -> None:
        self._authority = authority
        self._links = links

    def __repr__(self) -> str:
        return f"Addresses({self._authority!r})"

    async def of(self, uid: str) -> list[Address]:
        """A person's addresses, the oldest first."""
        found = [_shown(one, record) for one, record in await self._stored(uid) if record.removed is None]
        return sorted(found, key=lambda address: (address.added, address.id))

    async def get(self, uid: str, id: str) -> Address | None:
        """One of them, also one that was removed a moment ago."""
        found = await self._authority.store.credential(uid, KIND, id)
        return None if found is None else _shown(found, _read(found))

    async def holder(self, address: str) -> tuple[str | None, str]:
        """Whose confirmed address this is, if it is one person's alone, and its id. The same work for any address."""
        store = self._authority.store
        id = _id(address)
        uids = await store.at_address(id)
        found = await store.credential(uids[0] if len(uids) == 1 else "prn_unknown", KIND, id)
        record = None if found is None else _read(found)
        if found is None or record is None or record.confirmed is None or record.removed is not None:
            return None, id
        return found.uid, id

    async def add(
        self, principal: Principal, address: str, *, by: Active | Actor | None = None, client: Client | None = None
    ) -> Address:
        """A new address, which counts once it is confirmed. The event makes a server with mail send the link.

        Raises:
            ValueError: not an address, or not a person. Conflict: it is there already. LimitExceeded: `MOST`.
        """
        if principal.kind is not PrincipalKind.HUMAN:
            raise ValueError("services and agents have no address: whoever answers for them has")
        address = check_address(address)
        store, now = self._authority.store, self._authority.clock.now()
        id, stored = _id(address), await self._stored(principal.uid)
        for one, record in stored:
            if record.removed is not None and now >= record.removed + _REMOVED:
                await store.remove_credential(principal.uid, KIND, one.id, value=one.value)
        here = [(one, record) for one, record in stored if record.removed is None]
        if any(one.id == id for one, _ in here):
            raise Conflict("this address is there already")
        if len(here) >= MOST:
            raise LimitExceeded(f"there are {MOST} addresses: remove one first")
        credential = _credential(principal.uid, id, _Record(address=address, added=now))
        await store.set_credential(credential, _event(EventName.ADDRESS_ADDED, principal, credential, by, client))
        return _shown(credential, _read(credential))

    async def replace(
        self, principal: Principal, addresses: Sequence[str], *, by: Active | Actor, client: Client | None = None
    ) -> None:
        """An operator's: these are the addresses of a person who has confirmed none yet.

        Raises:
            Conflict: the person has a confirmed one, and changes them itself from then on. ValueError, LimitExceeded.
        """
        before = await self.of(principal.uid)
        if any(one.confirmed is not None for one in before):
            raise Conflict(f"{principal.name} has a confirmed address: only {principal.name} changes them from now on")
        wanted = {_id(one): one for one in map(check_address, addresses)}
        for one in before:
            if one.id not in wanted:
                await self.remove(principal, one.id, by=by, client=client)
        for id, address in wanted.items():
            if all(one.id != id for one in before):
                await self.add(principal, address, by=by, client=client)

    async def link(self, principal: Principal, id: str) -> str:
        """The secret part of a link to confirm it with: for the mail that is sent there."""
        return await self._links.make(principal, Purpose.ADDRESS, about=id)

    async def to_confirm(self, secret: str, *, client: Client | None = None) -> Address:
        """The address that a link confirms, which it goes on doing. Raises LinkOver, NotFound: it was removed."""
        link = await self._links.find(secret, Purpose.ADDRESS, client=client)
        found = await self.get(link.principal.uid, link.about)
        if found is None:
            raise NotFound(_NONE)
        return found

    async def confirm(self, secret: str, *, client: Client | None = None) -> Address:
        """The link was followed: from now on the address counts. Raises LinkOver, NotFound: it was removed."""
        link = await self._links.find(secret, Purpose.ADDRESS, client=client)
        await self._links.follow(link, client=client)
        principal = link.principal
        by = Actor(name=principal.name, uid=principal.uid, client=client or Client())
        for _ in range(_ATTEMPTS):
            one, record = await self._one(principal.uid, link.about)
            changed = _credential(
                principal.uid, one.id, msgspec.structs.replace(record, confirmed=self._authority.clock.now())
            )
            event = _event(EventName.ADDRESS_CONFIRMED, principal, changed, by, client)
            if await self._authority.store.set_credential(changed, event, instead_of=one.value):
                return _shown(changed, _read(changed))
        raise Conflict("this address is being changed: try again")

    async def remove(
        self, principal: Principal, id: str, *, by: Active | Actor | None = None, client: Client | None = None
    ) -> Address:
        """Nothing is sent there any more, save that it was removed. Raises NotFound."""
        for _ in range(_ATTEMPTS):
            one, record = await self._one(principal.uid, id)
            changed = _credential(
                principal.uid, id, msgspec.structs.replace(record, removed=self._authority.clock.now())
            )
            event = _event(EventName.ADDRESS_REMOVED, principal, changed, by, client)
            if await self._authority.store.set_credential(changed, event, instead_of=one.value):
                return _shown(changed, record)
        raise Conflict("this address is being changed: try again")

    async def forget(self, uid: str, id: str) -> None:
        """Its removal is told: nothing of it is kept. One that was added again meanwhile stays."""
        found = await self._authority.store.credential(uid, KIND, id)
        if found is not None and _read(found).removed is not None:
            await self._authority.store.remove_credential(uid, KIND, id, value=found.value)

    async def _one(self, uid: str, id: str) -> tuple[Credential, _Record]:
        found = await self._authority.store.credential(uid, KIND, id)
        record = None if found is None else _read(found)
        if found is None or record is None or record.removed is not None:
            raise NotFound(_NONE)
        return found, record

    async def _stored(self, uid: str) -> list[tuple[Credential, _Record]]:
        return [(one, _read(one)) for one in await self._authority.store.credentials(uid) if one.kind == KIND]


def check_address(address: str) -> str:
    """The address, without white space around it. Raises ValueError."""
    found = address.strip()
    if len(found) > LONGEST or not _SHAPE.fullmatch(found):
        raise ValueError("this is no e-mail address: write it as name@example.org")
    return found


def masked(address: str) -> str:
    """For the record and for whoever may not read it: `a…@example.org`."""
    name, _, domain = address.rpartition("@")
    return f"{name[:1]}…@{domain}"


def _id(address: str) -> str:
    said = b"sessile address 1 " + address.strip().casefold().encode("utf-8", "replace")
    return id_of("adr", hashlib.sha256(said).digest())


def _credential(uid: str, id: str, record: _Record) -> Credential:
    return Credential(uid=uid, kind=KIND, id=id, value=msgspec.json.encode(record))


def _read(credential: Credential) -> _Record:
    return msgspec.json.decode(credential.value, type=_Record)


def _shown(credential: Credential, record: _Record) -> Address:
    return Address(id=credential.id, address=record.address, added=record.added, confirmed=record.confirmed)


def _event(
    name: EventName, principal: Principal, credential: Credential, by: Active | Actor | None, client: Client | None
) -> Event:
    record = _read(credential)
    return Event(
        name=name, principal=principal.name, uid=principal.uid,
        session=by.session.id if isinstance(by, Active) and by.session.uid == principal.uid else None,
        by=actor_of(by, client), details={"address": masked(record.address), "id": credential.id},
    )  # fmt: skip


_NONE: Final = "there is no such address"

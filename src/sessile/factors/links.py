"""One-time links: 256 random bits, kept as a digest, good for a while and once.

What is kept is a credential of the person's, so that it goes with the person; a link for a new password dies with
everything that changes the person's epoch: another password, signing out everywhere, being disabled.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from sessile.authority import Authority
from sessile.errors import SessileError
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.principal import Principal, Status
from sessile.kernel.session import Client
from sessile.kernel.tries import telling
from sessile.stores.protocol import Credential

KIND: Final = "link"
MOST: Final = 20
"""Links of one person; of more the oldest is over."""
_SECRET_BYTES: Final = 32
_SHAPE: Final = re.compile(r"(prn_[0-9a-z]{1,40})\.([A-Za-z0-9_-]{43})")


class Purpose(StrEnum):
    PASSWORD = "password"
    ADDRESS = "address"


LIVES: Final = {Purpose.PASSWORD: timedelta(minutes=15), Purpose.ADDRESS: timedelta(hours=24)}


class LinkOver(SessileError):
    """The link was followed before, is too old, or never was: which, is not said."""


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    purpose: Purpose
    expires: datetime
    about: str = ""
    epoch: str
    """A digest of the person's epoch when it was made."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link that counts now."""

    principal: Principal
    purpose: Purpose
    about: str
    """What it is about, within its purpose: the id of an address."""
    credential: Credential


class Links:
    """The one-time links of an authority's people."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def __repr__(self) -> str:
        return f"Links({self._authority!r})"

    async def make(self, principal: Principal, purpose: Purpose, *, about: str = "") -> str:
        """The secret part of a new link. Raises NotFound: the person is gone."""
        store, now = self._authority.store, self._authority.clock.now()
        await self._sweep(principal.uid, now)
        secret = f"{principal.uid}.{secrets.token_urlsafe(_SECRET_BYTES)}"
        record = _Record(purpose=purpose, expires=now + LIVES[purpose], about=about, epoch=_epoch(principal))
        await store.set_credential(
            Credential(uid=principal.uid, kind=KIND, id=_digest(secret), value=msgspec.json.encode(record))
        )
        return secret

    async def find(self, secret: str, purpose: Purpose, *, client: Client | None = None) -> Link:
        """The link that the secret is of, which stays good. Raises LinkOver, and writes an event if the link says
        whose it was."""
        shape = _SHAPE.fullmatch(secret)
        if shape is None:
            raise LinkOver(_OVER)
        store = self._authority.store
        credential = await store.credential(shape[1], KIND, _digest(secret))
        principal = await store.principal(uid=shape[1])
        if principal is None:
            raise LinkOver(_OVER)
        record = None if credential is None else msgspec.json.decode(credential.value, type=_Record)
        if credential is None or record is None or not self._is_good(record, principal, purpose):
            await self._refused(principal, purpose, client)
            raise LinkOver(_OVER)
        return Link(principal=principal, purpose=purpose, about=record.about, credential=credential)

    async def follow(self, link: Link, *, client: Client | None = None) -> None:
        """Use it up: of any number at once, one succeeds. Raises LinkOver, and writes an event."""
        one = link.credential
        if not await self._authority.store.remove_credential(one.uid, KIND, one.id, value=one.value):
            await self._refused(link.principal, link.purpose, client)
            raise LinkOver(_OVER)

    def _is_good(self, record: _Record, principal: Principal, purpose: Purpose) -> bool:
        return (
            principal.status is Status.ACTIVE
            and record.purpose is purpose
            and self._authority.clock.now() < record.expires
            and (purpose is not Purpose.PASSWORD or record.epoch == _epoch(principal))
        )

    async def _refused(self, principal: Principal, purpose: Purpose, client: Client | None) -> None:
        """For the record, once an hour: whoever had a link once may follow it, or something like it, without end."""
        store = self._authority.store
        if await store.count_try([telling(f"link refused {purpose} {principal.uid}".encode())]) is not None:
            return
        by = Actor(name="anonymous", client=client or Client())
        await store.record(
            Event(
                name=EventName.LINK_REFUSED, principal=principal.name, uid=principal.uid, by=by,
                details={"purpose": purpose},
            )
        )  # fmt: skip

    async def _sweep(self, uid: str, now: datetime) -> None:
        store = self._authority.store
        kept = [
            (msgspec.json.decode(one.value, type=_Record).expires, one)
            for one in await store.credentials(uid)
            if one.kind == KIND
        ]
        kept.sort(key=lambda found: (found[0], found[1].id))
        for expires, one in kept:
            if now >= expires or len(kept) >= MOST:
                kept = kept[1:]
                await store.remove_credential(uid, KIND, one.id)


def _digest(secret: str) -> str:
    return hashlib.sha256(b"sessile link 1 " + secret.encode()).hexdigest()


def _epoch(principal: Principal) -> str:
    return hashlib.sha256(b"sessile link epoch 1 " + principal.epoch).hexdigest()


_OVER: Final = "this link was used already, or is too old: ask for a new one"

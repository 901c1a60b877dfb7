"""The factors that a person has besides a password: to show, to rename, to remove, and who may.

Adding and removing a factor needs a fresh authentication, and both factors of whoever has two: a session alone,
stolen or left open, changes none (NIST SP 800-63B-4, 4.1.2.1; ASVS V7.5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from sessile.authority import Authority
from sessile.errors import Conflict, LimitExceeded, NotFound, Refused
from sessile.factors.sealing import Seal
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied, Requirement, demand
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind
from sessile.stores.protocol import Credential

FRESH: Final = timedelta(minutes=5)
"""How recent an authentication must be to add or to remove a factor."""
PENDING: Final = timedelta(minutes=10)
"""How long a factor waits for its confirmation."""
MOST: Final = 10
"""Factors of one person."""
LONGEST_NAME: Final = 60
KINDS: Final = {Method.TOTP: "Authenticator app"}
"""The second factors, by the kind of their credential, and what one is called whose person gave it no name."""


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A factor to show."""

    id: str
    method: Method
    name: str
    added: datetime
    used: datetime | None
    """When it last proved its person."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory keeps of a factor, as JSON."""

    name: str
    added: datetime
    confirmed: bool = False
    """Before that it proves nothing, and after `PENDING` it is as if it had never been."""
    used: datetime | None = None
    count: int = 0
    """What only grows: the time step of the last code that was accepted."""
    sealed: bytes
    """The secret."""


class Stored(msgspec.Struct, frozen=True):
    """A record, and the credential that it was read from."""

    credential: Credential
    record: Record

    @property
    def factor(self) -> Factor:
        record = self.record
        return Factor(
            id=self.credential.id, method=Method(self.credential.kind), name=record.name, added=record.added,
            used=record.used,
        )  # fmt: skip

    def changed(self, record: Record) -> Credential:
        """The credential with another record."""
        return msgspec.structs.replace(self.credential, value=msgspec.json.encode(record))


class Factors:
    """The second factors of an authority's people.

    Args:
        authority: whose people and sessions.
        seal: under what their secrets are kept.
    """

    def __init__(self, authority: Authority, seal: Seal) -> None:
        self.authority = authority
        self.seal = seal

    def __repr__(self) -> str:
        return f"Factors({self.authority!r})"

    async def of(self, uid: str) -> list[Factor]:
        """The factors that count, the oldest first."""
        found = [one.factor for one in await self.stored(uid) if one.record.confirmed]
        return sorted(found, key=lambda factor: (factor.added, factor.id))

    async def stored(self, uid: str, kind: Method | None = None) -> list[Stored]:
        """Confirmed and pending ones, of all kinds or of one."""
        kinds = KINDS if kind is None else (kind,)
        return [
            Stored(one, msgspec.json.decode(one.value, type=Record))
            for one in await self.authority.store.credentials(uid)
            if one.kind in kinds
        ]

    async def may_change(self, active: Active) -> str:
        """The uid of the person whose factors this session may change.

        Raises:
            Refused: `denied` says what it lacks: a fresh authentication, or the second factor that the person has.
        """
        session = active.session
        if session.kind is not SessionKind.BROWSER or session.uid is None:
            raise _refused(active, "factors are for people's own sessions")
        needed = Requirement(fresh=FRESH, assurance=2 if await self.of(session.uid) else 0)
        denied = demand(session, needed, self.authority.clock.now())
        if denied is not None:
            raise Refused("changing how you sign in needs a fresh proof that it is you: step up first", denied)
        return session.uid

    async def add(self, active: Active, kind: Method, name: str, secret: bytes, id: str) -> Factor:
        """Keep a new factor, which counts from its confirmation on.

        Raises:
            Refused: see `may_change`. LimitExceeded: the person has `MOST`. ValueError: the name is too long.
        """
        uid = await self.may_change(active)
        now, store = self.authority.clock.now(), self.authority.store
        all_ = await self.stored(uid)
        for old in all_:
            if is_over(old, now):
                await store.remove_credential(uid, old.credential.kind, old.credential.id, value=old.credential.value)
        if sum(not is_over(one, now) for one in all_) >= MOST:
            raise LimitExceeded(f"you have {MOST} factors, or began to add them: remove one first")
        record = Record(name=factor_name(name) or KINDS[kind], added=now, sealed=self.seal.seal(secret, uid, kind, id))
        stored = Stored(Credential(uid=uid, kind=kind, id=id, value=msgspec.json.encode(record)), record)
        await store.set_credential(stored.credential)
        return stored.factor

    async def rename(self, active: Active, id: str, name: str, *, client: Client | None = None) -> Factor:
        """Call it something else. Raises NotFound, Refused, ValueError: no name, or one that is too long."""
        name = factor_name(name)
        if not name:
            raise ValueError("give the factor a name")
        uid = await self.may_change(active)
        for _ in range(_ATTEMPTS):
            stored = await self._own(uid, id)
            changed = stored.changed(msgspec.structs.replace(stored.record, name=name))
            event = self.event(EventName.FACTOR_CHANGED, stored, active, client)
            if await self.authority.store.set_credential(changed, event, instead_of=stored.credential.value):
                return msgspec.structs.replace(stored.factor, name=name)
        raise Conflict("this factor is being used: try again")

    async def remove(self, active: Active, id: str, *, client: Client | None = None) -> Factor:
        """It proves nothing from now on. Sessions that it helped to begin go on. Raises NotFound, Refused."""
        uid = await self.may_change(active)
        stored = await self._own(uid, id)
        event = self.event(EventName.FACTOR_REMOVED, stored, active, client)
        if not await self.authority.store.remove_credential(uid, stored.credential.kind, id, event):
            raise NotFound(_NONE)
        return stored.factor

    def event(self, name: EventName, stored: Stored, by: Active, client: Client | None) -> Event:
        session, factor = by.session, stored.factor
        return Event(
            name=name, principal=session.principal, uid=session.uid, session=session.id,
            by=Actor(name=session.principal or "", session=session.id, client=client or session.client),
            details={"factor": factor.id, "method": factor.method.value, "called": factor.name},
        )  # fmt: skip

    async def _own(self, uid: str, id: str) -> Stored:
        found = [one for one in await self.stored(uid) if one.credential.id == id and one.record.confirmed]
        if not found:
            raise NotFound(_NONE)
        return found[0]


def is_over(stored: Stored, now: datetime) -> bool:
    """Whether it was never confirmed, and cannot be any more."""
    return not stored.record.confirmed and now >= stored.record.added + PENDING


def factor_name(name: str) -> str:
    """The name as it is kept: white space made single. Raises ValueError: too long, or not printable."""
    shown = " ".join(name.split())
    if len(shown) > LONGEST_NAME or not shown.isprintable():
        raise ValueError(f"a factor's name has at most {LONGEST_NAME} printable characters")
    return shown


def _refused(active: Active, message: str) -> Refused:
    return Refused(message, Denied(reason=Reason.OUT_OF_SCOPE, session=active.session.id))


def second_factors(factors: Sequence[Factor]) -> list[Method]:
    """Their methods, each once."""
    return list(dict.fromkeys(factor.method for factor in factors))


_ATTEMPTS: Final = 5
_NONE: Final = "you have no such factor"

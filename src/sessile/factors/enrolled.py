"""The factors that a person has besides a password: to show, to rename, to remove, and who may.

Adding and removing a factor needs a fresh authentication, and by the second factor of whoever has one: a session alone,
stolen or left open, changes none, nor does one with the password (NIST SP 800-63B-4, 4.1.2.1; ASVS V7.5.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from sessile.authority import Authority
from sessile.errors import Conflict, LimitExceeded, NotFound, Refused
from sessile.factors.sealing import Seal
from sessile.factors.throttle import Throttle
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active, Denied, Requirement, demand
from sessile.kernel.event import Actor, Event, EventName, actor_of
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, Session, SessionKind
from sessile.receipt import Receipt
from sessile.stores.protocol import Credential, End

FRESH: Final = timedelta(minutes=5)
"""How recent an authentication must be to add or to remove a factor."""
PENDING: Final = timedelta(minutes=10)
"""How long a factor waits for its confirmation."""
MOST: Final = 10
"""Factors of one person."""
LONGEST_NAME: Final = 60
KINDS: Final = {Method.PASSKEY: "Passkey", Method.TOTP: "Authenticator app"}
"""The second factors, by the kind of their credential, and what one is called whose person gave it no name."""


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    """A factor to show."""

    id: str
    method: Method
    name: str
    added: datetime
    used: datetime | None
    """When it last proved its person."""
    proves: Method
    """What using it is recorded as: of a passkey that stays on its device, a hardware key."""
    backed_up: bool = False
    """A passkey of which there is a copy elsewhere, by what its device last said."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory keeps of a factor, as JSON."""

    name: str
    added: datetime
    confirmed: bool = False
    """Before that it proves nothing, and after `PENDING` it is as if it had never been."""
    used: datetime | None = None
    count: int = 0
    """What only grows: the time step of the last code that was accepted; how often a passkey says it was used."""
    synced: bool = True
    """A passkey that may be on several devices."""
    backed_up: bool = False
    sealed: bytes
    """The secret, or what of a passkey nobody may alter."""


class Stored(msgspec.Struct, frozen=True):
    """A record, and the credential that it was read from."""

    credential: Credential
    record: Record

    @property
    def factor(self) -> Factor:
        record, method = self.record, Method(self.credential.kind)
        bound = method is Method.PASSKEY and not record.synced
        return Factor(
            id=self.credential.id, method=method, name=record.name, added=record.added, used=record.used,
            proves=Method.HARDWARE_KEY if bound else method, backed_up=record.backed_up,
        )  # fmt: skip

    def changed(self, record: Record) -> Credential:
        """The credential with another record."""
        return msgspec.structs.replace(self.credential, value=msgspec.json.encode(record))


class Factors:
    """The second factors of an authority's people.

    Args:
        authority: whose people and sessions.
        seal: under what their secrets are kept.
        throttle: counts every try before it is looked at. None: nothing slows down guessing.
    """

    def __init__(self, authority: Authority, seal: Seal, throttle: Throttle | None = None) -> None:
        self.authority = authority
        self.seal = seal
        self.throttle = throttle

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
        now, has = self.authority.clock.now(), bool(await self.of(session.uid))
        denied = demand(session, Requirement(fresh=FRESH, assurance=2 if has else 0), now)
        if denied is not None:
            raise Refused("changing how you sign in needs a fresh proof that it is you: step up first", denied)
        if has:
            demand_factor(session, now)
        return session.uid

    async def room(self, uid: str) -> None:
        """Clear away what was never confirmed. Raises LimitExceeded: the person has `MOST`."""
        now, store = self.authority.clock.now(), self.authority.store
        all_ = await self.stored(uid)
        for old in all_:
            if is_over(old, now):
                await store.remove_credential(uid, old.credential.kind, old.credential.id, value=old.credential.value)
        if sum(not is_over(one, now) for one in all_) >= MOST:
            raise LimitExceeded(f"you have {MOST} factors, or began to add them: remove one first")

    async def add(
        self, active: Active, kind: Method, name: str, secret: bytes, id: str, *, confirmed: bool = False,
        count: int = 0, synced: bool = True, backed_up: bool = False, client: Client | None = None,
    ) -> Factor:  # fmt: skip
        """Keep a new factor, which counts at once if it is `confirmed`, else from its confirmation on.

        Raises:
            Refused: see `may_change`. LimitExceeded: the person has `MOST`. ValueError: the name is too long.
            Conflict: it is another person's.
        """
        uid = await self.may_change(active)
        await self.room(uid)
        record = Record(
            name=factor_name(name) or KINDS[kind], added=self.authority.clock.now(), confirmed=confirmed, count=count,
            synced=synced, backed_up=backed_up, sealed=self.seal.seal(secret, uid, kind, id),
        )  # fmt: skip
        stored = Stored(Credential(uid=uid, kind=kind, id=id, value=msgspec.json.encode(record)), record)
        event = self.changed(EventName.FACTOR_ADDED, stored, active, client) if confirmed else None
        await self.authority.store.set_credential(stored.credential, event)
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
            event = self.changed(EventName.FACTOR_CHANGED, stored, active, client)
            if await self.authority.store.set_credential(changed, event, instead_of=stored.credential.value):
                return msgspec.structs.replace(stored.factor, name=name)
        raise Conflict("this factor is being used: try again")

    async def remove(self, active: Active, id: str, *, client: Client | None = None) -> Factor:
        """It proves nothing from now on. Sessions that it helped to begin go on. Raises NotFound, Refused.

        With the last one of its kind go the failures that were counted against it: the next one is bound anew, and
        that took the proofs that `may_change` asks for.
        """
        uid = await self.may_change(active)
        stored = await self._own(uid, id)
        event = self.changed(EventName.FACTOR_REMOVED, stored, active, client)
        kind = Method(stored.credential.kind)
        if not await self.authority.store.remove_credential(uid, kind, id, event):
            raise NotFound(_NONE)
        if self.throttle is not None and not await self.stored(uid, kind):
            await self.throttle.bound_anew(kind, uid)
        return stored.factor

    async def reset(
        self, name: str, *, by: Active | Actor, cause: str, id: str | None = None
    ) -> tuple[Sequence[Factor], Receipt]:  # fmt: skip
        """An operator's: a person lost its second factors, or they are off. They prove nothing from now on (`id`: only
        that one), what was counted against them is forgotten, and every session of the person ends.

        Without `id` the recovery codes go too: the person signs in with the password alone, until it binds new ones.

        Raises:
            NotFound: no such principal, or no such factor. RevocationUncertain: repeat it.
        """
        authority, store = self.authority, self.authority.store
        principal = await authority.principal(name)
        removed = [one for one in await self.stored(principal.uid) if id in (None, one.credential.id)]
        if id is not None and not removed:
            raise NotFound(f"{principal.name} has no such factor")
        for one in removed:
            await store.remove_credential(principal.uid, one.credential.kind, one.credential.id)
        if id is None:
            await store.remove_credential(principal.uid, Method.RECOVERY_CODE)
        left = {Method(one.credential.kind) for one in await self.stored(principal.uid)}
        kinds = [kind for kind in (*KINDS, Method.RECOVERY_CODE) if kind not in left and (id is None or removed)]
        if self.throttle is not None:
            for kind in kinds if id is None else [Method(removed[0].credential.kind)]:
                await self.throttle.bound_anew(kind, principal.uid)
        await store.record(
            Event(
                name=EventName.FACTOR_RESET, principal=principal.name, uid=principal.uid, by=actor_of(by), cause=cause,
                details={"factors": [one.credential.id for one in removed]},
            )
        )  # fmt: skip
        receipt = await authority.end(End(uid=principal.uid, cause=cause), by=by)
        return [one.factor for one in removed if one.record.confirmed], receipt

    def opened(self, stored: Stored) -> bytes:
        """Its secret. Raises Unsealable: it was altered or moved, or its key is gone."""
        one = stored.credential
        return self.seal.open(stored.record.sealed, one.uid, one.kind, one.id)

    def resealed(self, stored: Stored) -> bytes:
        """Its secret as it is to be kept: sealed anew if the server's key was rotated. Raises Unsealable."""
        one, sealed = stored.credential, stored.record.sealed
        if self.seal.is_current(sealed):
            return sealed
        return self.seal.seal(self.opened(stored), one.uid, one.kind, one.id)

    def changed(self, name: EventName, stored: Stored, by: Active, client: Client | None) -> Event:
        """A person's own change of a factor, as an event."""
        return self.event(name, stored, by=actor_of(by, client), session=by.session.id, principal=by.session.principal)

    def event(
        self, name: EventName, stored: Stored, *, by: Actor, session: str | None = None, principal: str | None = None
    ) -> Event:  # fmt: skip
        factor = stored.factor
        return Event(
            name=name, principal=principal or by.name, uid=stored.credential.uid, session=session, by=by,
            details={"factor": factor.id, "method": factor.method.value, "called": factor.name},
        )  # fmt: skip

    async def _own(self, uid: str, id: str) -> Stored:
        found = [one for one in await self.stored(uid) if one.credential.id == id and one.record.confirmed]
        if not found:
            raise NotFound(_NONE)
        return found[0]


def demand_factor(session: Session, now: datetime) -> None:
    """Raises Refused: nothing but a password proved the person in the last `FRESH`. Whoever stole a session and knows
    the password binds no factor with that (ASVS V7.5.1).
    """
    for event in session.authentications:
        if event.method not in (Method.PASSWORD, Method.FEDERATED) and now - event.at < FRESH:
            return
    denied = Denied(reason=Reason.STALE_AUTHENTICATION, session=session.id, at=session.authenticated)
    raise Refused("this needs a fresh proof by your second factor: step up with that, not with the password", denied)


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

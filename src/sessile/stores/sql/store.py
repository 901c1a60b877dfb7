"""`Store` and `Directory` on an engine that speaks SQL: every method's statements. The engine says how they run."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from itertools import islice
from typing import TypeVar

from sessile.kernel.assurance import Method
from sessile.kernel.decide import Snapshot
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind
from sessile.kernel.session import Session, SessionInfo
from sessile.kernel.tries import Exhausted, Limit
from sessile.stores.noticing import Noticed
from sessile.stores.protocol import (
    PAGE,
    Begun,
    Contained,
    ContainmentState,
    Credential,
    End,
    Ended,
    Erased,
    Page,
    Replaced,
    Tally,
    Verified,
)
from sessile.stores.sql import (
    beginning,
    containing,
    directory,
    ending,
    erasing,
    listing,
    noticing,
    rotation,
    tries,
    upkeep,
)
from sessile.stores.sql.leases import SQLLeases
from sessile.stores.sql.mail import SQLMails
from sessile.stores.sql.noticing import SQLNotices
from sessile.stores.sql.owning import SQLOwning
from sessile.stores.sql.transaction import Db, Transaction
from sessile.stores.sql.walking import SQLWalks
from sessile.stores.sql.working import SQLWorks

T = TypeVar("T")
Ends = TypeVar("Ends", Begun, Replaced, Ended)
"""What ends something: each says when that was acknowledged, and by whom."""

_TOUCHES = 200
"""Sessions that are touched in one go."""


class Lane(IntEnum):
    """What goes first. Within a lane, first come first served."""

    ENDINGS = 0
    CHANGES = 1
    LATER = 2
    """Touches and sweeping: nobody waits for them."""


class SQLStore(SQLMails, SQLLeases, SQLNotices, SQLWorks, SQLOwning, SQLWalks):
    """See `stores.protocol`. Opening, following and `read`, which every check without a near cache pays for, are each
    engine's own."""

    hear: Callable[[Sequence[Event]], None] | None = None

    def tell(self, events: Sequence[Event]) -> None:
        """They were committed: tell who listens."""
        if events and self.hear is not None:
            self.hear(events)

    @abc.abstractmethod
    async def _point(self, read: Callable[[Db, datetime], T]) -> T:
        """A small read, of one instant: it is given the store's clock."""

    @abc.abstractmethod
    async def _list(self, read: Callable[[Db, datetime], T]) -> T:
        """A read that may take its time."""

    @abc.abstractmethod
    async def _write(self, work: Callable[..., T], *args: object, lane: Lane = Lane.CHANGES) -> T:
        """`work(transaction, *args)` in a transaction of its own; returns after the commit."""

    @abc.abstractmethod
    async def _end(self, work: Callable[..., Ends], *args: object, lane: Lane = Lane.ENDINGS) -> Ends:
        """`_write` of what ends something, with the instant of its acknowledgement, and by whom."""

    async def _later(self, work: Callable[..., T], *args: object) -> T:
        """`_write`, for which nobody waits."""
        return await self._write(work, *args, lane=Lane.LATER)

    # -- beside a store of sessions that is no SQL --------------------------------------------------------------

    async def change(self, work: Callable[[Transaction], T]) -> T:
        """As its directory: run a change of that store's in a transaction. It goes first."""
        return await self._write(work, lane=Lane.ENDINGS)

    async def look(self, read: Callable[[Db], T]) -> T:
        """As its directory: read what that store keeps here."""
        return await self._point(lambda db, _: read(db))

    # -- Store --------------------------------------------------------------------------------------------------

    async def begin(self, draft: Draft) -> Begun:
        return await self._end(beginning.begin, draft, lane=Lane.CHANGES)

    async def offer(self, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
        return await self._write(rotation.offer, presented, salt, successor)

    async def confirm(self, successor: bytes) -> None:
        await self._write(rotation.confirm, successor)

    async def replace(self, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Replaced:
        return await self._end(rotation.replace, presented, digest, method, by, lane=Lane.CHANGES)

    async def bind(self, session_id: str, device_key: str, by: Actor) -> bool:
        return await self._write(rotation.bind, session_id, device_key, by)

    async def touch(self, seen: Mapping[str, datetime]) -> None:
        rest = iter(seen.items())
        while some := dict(islice(rest, _TOUCHES)):
            await self._write(rotation.touch, some, lane=Lane.LATER)

    async def retire(self, session_id: str, until: datetime, successor: str, by: Actor) -> Session:
        return await self._write(rotation.retire, session_id, until, successor, by)

    async def notice(self, noticed: Sequence[Noticed]) -> None:
        await self._write(noticing.notice, noticed, lane=Lane.LATER)

    async def end(self, end: End) -> Ended:
        return await self._end(ending.end, end)

    async def erase(self, uid: str, cause: str, by: Actor) -> Erased:
        return (await self._write(erasing.erase, uid, cause, by))[0]

    async def sessions(
        self, *, uid: str | None = None, giver: str | None = None, root: str | None = None, ended: bool = False,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[SessionInfo]:  # fmt: skip
        return await self._list(
            lambda db, now: listing.list_sessions(
                db, now, uid=uid, giver=giver, root=root, ended=ended, after=after, limit=limit
            )
        )

    async def handed_out(
        self, *, root: str | None = None, uid: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[Snapshot]:
        return await self._list(lambda db, now: containing.handed_out(db, now, root, uid, after, limit))

    async def session(self, session_id: str) -> SessionInfo | None:
        return await self._point(lambda db, now: listing.show_session(db, session_id, now))

    async def read_data(self, session_id: str) -> tuple[int, bytes]:
        return await self._point(lambda db, _: rotation.read_data(db, session_id))

    async def write_data(self, session_id: str, version: int, data: bytes) -> bool:
        return await self._write(rotation.write_data, session_id, version, data)

    async def sweep(self, limit: int = 500) -> int:
        return await self._write(upkeep.sweep, limit, lane=Lane.LATER)

    # -- Directory ----------------------------------------------------------------------------------------------

    async def fence(self, name: str) -> tuple[Principal, Fence] | None:
        return await self._point(lambda db, _: directory.find_fence(db, name))

    async def principal(self, *, name: str | None = None, uid: str | None = None) -> Principal | None:
        if name is not None:
            return await self._point(lambda db, _: directory.find_named(db, name))
        return await self._point(lambda db, _: directory.find_principal(db, uid)) if uid is not None else None

    async def principals(
        self, *, kind: PrincipalKind | None = None, search: str = "", owner: str | None = None,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[Principal]:  # fmt: skip
        return await self._list(lambda db, _: directory.list_principals(db, kind, search, owner, after, limit))

    async def policy(self, name: str) -> Policy | None:
        return await self._point(lambda db, _: directory.find_policy(db, name))

    async def policies(self) -> Sequence[Policy]:
        return await self._point(lambda db, _: directory.all_policies(db))

    async def set_policy(self, policy: Policy, by: Actor) -> Ended:
        return await self._end(directory.set_policy, policy, by)

    async def credential(self, uid: str, kind: str, id: str = "") -> Credential | None:
        return await self._point(lambda db, _: directory.find_credential(db, uid, kind, id))

    async def credentials(self, uid: str) -> Sequence[Credential]:
        return await self._point(lambda db, _: directory.all_credentials(db, uid))

    async def passkey(self, id: str) -> Credential | None:
        return await self._point(lambda db, _: directory.find_passkey(db, id))

    async def set_credential(
        self, credential: Credential, event: Event | None = None, *, instead_of: bytes | None = None
    ) -> bool:
        return await self._write(directory.set_credential, credential, event, instead_of)

    async def remove_credential(
        self, uid: str, kind: str, id: str = "", event: Event | None = None, *, value: bytes | None = None
    ) -> bool:
        return await self._write(directory.remove_credential, uid, kind, id, event, value)

    async def count_try(self, limits: Sequence[Limit]) -> Exhausted | None:
        return await self._write(tries.count_try, limits)

    async def give_back(self, limits: Sequence[Limit]) -> None:
        await self._write(tries.give_back, limits)

    async def forget_tries(self, keys: Sequence[bytes]) -> None:
        await self._write(tries.forget_tries, keys)

    async def record(self, event: Event) -> None:
        await self._write(lambda tx: tx.record(event))

    async def events(
        self, *, after: int = 0, before: int | None = None, limit: int = PAGE, uid: str | None = None,
        session: str | None = None, names: Collection[EventName] = (), since: datetime | None = None,
        latest: bool = False,
    ) -> Sequence[Event]:  # fmt: skip
        return await self._list(
            lambda db, _: directory.list_events(
                db, after=after, before=before, limit=limit, uid=uid, session=session, names=names, since=since,
                latest=latest,
            )
        )  # fmt: skip

    async def tallies(self, since: datetime) -> Sequence[Tally]:
        return await self._list(lambda db, _: directory.tallies(db, since))

    async def verify_events(self, after: Verified) -> Verified:
        return await self._list(lambda db, _: directory.verify_events(db, after))

    async def containment(self, id: str) -> Contained | None:
        return await self._point(lambda db, _: containing.find(db, id))

    async def open_containments(self, limit: int = PAGE) -> Sequence[str]:
        return await self._list(lambda db, _: containing.still_open(db, limit))

    async def settle_containment(self, id: str, state: ContainmentState, report: bytes, event: Event) -> None:
        await self._write(containing.settle, id, state, report, event)

    async def fact(self, name: str) -> bytes | None:
        return await self._point(lambda db, _: directory.find_fact(db, name))

    async def set_fact(self, name: str, value: bytes) -> bytes:
        return await self._write(directory.set_fact, name, value)

    async def statistics(self) -> Mapping[str, int]:
        return await self._list(lambda db, now: directory.statistics(db, now))

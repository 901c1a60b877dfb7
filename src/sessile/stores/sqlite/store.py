"""The SQLite store from above: which connection answers what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec

from sessile.clock import Clock
from sessile.errors import SessileError, StoreUnavailable
from sessile.kernel.assurance import Method
from sessile.kernel.decide import Snapshot
from sessile.kernel.event import Actor, Event
from sessile.kernel.issue import Draft, Fence
from sessile.kernel.policy import Policy
from sessile.kernel.principal import Principal, PrincipalKind
from sessile.kernel.session import SessionInfo
from sessile.kernel.tries import Exhausted, Limit
from sessile.near import NearCache
from sessile.stores.protocol import PAGE, Begun, Contained, ContainmentState, Credential, End, Ended, Page, Verified
from sessile.stores.sql import beginning, containing, directory, ending, listing, rotation, tries, upkeep
from sessile.stores.sql.snapshots import by_token
from sessile.stores import fork
from sessile.stores.sqlite.aside import Aside
from sessile.stores.sqlite.connection import Connection, is_busy, translated
from sessile.stores.sqlite.follow import Follower
from sessile.stores.sqlite.log import shorten_log
from sessile.stores.sqlite.schema import BUSY_SECONDS, prepare
from sessile.stores.sqlite.writer import Lane, Writer

T = TypeVar("T")

_TOUCHES = 200
"""Sessions that are touched in one go."""


class SQLiteStore:
    """`Store` and `Directory` in one SQLite file, for all processes of one machine.

    Small reads run on the caller's thread and the connection of the checks (`follow`), lists in a thread beside
    (`aside`), changes in the writer's thread (`writer`).

    Args:
        path: the file. Its folder has to be there.
        clock: what time it is.
        create: whether a missing file is made (mode 0600).
    """

    local = True
    partitioned = False
    delta = timedelta(0)

    def __init__(self, path: Path, *, clock: Clock, create: bool = False) -> None:
        self.path = Path(os.path.abspath(path))
        self._clock = clock
        self._create = create
        self._follower = Follower(self.path)
        self._aside = Aside(self.path)
        self._writer: Writer | None = None
        # Bound once: every check pays for it.
        self.current = self._follower.current

    async def open(self, near: NearCache) -> None:
        """Make or migrate the file, and follow it.

        Raises:
            NotFound: there is no such file, and `create` is false; or its folder is not there.
            StoreUnavailable: see `schema.prepare`.
        """
        await asyncio.to_thread(self._open, near)

    def _open(self, near: NearCache) -> None:
        try:
            prepare(self.path, create=self._create)
            self._follower.open(near)
        except sqlite3.Error as error:
            raise translated(error) from error
        if self._writer is None:
            self._writer = self._new_writer()
        fork.watch(self)

    def _new_writer(self) -> Writer:
        connection = Connection(self.path, busy_timeout=BUSY_SECONDS, query_only=False)
        return Writer(connection, self._clock, lambda db: shorten_log(db, self.path))

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        fork.unwatch(self)
        if writer is not None:
            await asyncio.to_thread(writer.close)
        self._follower.close()
        await asyncio.to_thread(self._aside.close)

    # -- ways to the file ---------------------------------------------------------------------------------------

    async def _point(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """A small read, at once. Only where that would have to wait, it goes to a thread."""
        try:
            return self._follower.run(read)
        except sqlite3.Error as error:
            if not is_busy(error):
                self._follower.close()
        except StoreUnavailable:
            pass
        return await self._list(read)

    async def _list(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """A read that may take its time, in a thread."""
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        try:
            # Another file lay at the path, or this process is a child: see that checks can read again, too.
            if not self._follower.is_open:
                await asyncio.to_thread(self._follower.open)
            return await self._aside.run(read)
        except sqlite3.Error as error:
            raise translated(error) from error

    async def _write(self, work: Callable[..., T], *args: object, lane: Lane = Lane.CHANGES) -> T:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return await self._writer.run(lambda tx: work(tx, *args), lane)

    def before_fork(self) -> None:
        if self._writer is not None:
            self._writer.pause()
        self._aside.pause()
        self._follower.lock.acquire()
        self._follower.close_locked()

    def after_fork_in_parent(self) -> None:
        self._follower.lock.release()
        self._aside.resume()
        if self._writer is not None:
            self._writer.resume()
        with contextlib.suppress(sqlite3.Error, SessileError):  # the next read tries again
            self._follower.open()

    def after_fork_in_child(self) -> None:
        self._follower.after_fork()
        self._aside.abandon()
        self._aside = Aside(self.path)
        if self._writer is not None:
            # What waited in the parent's queue is the parent's to write.
            self._writer.abandon()
            self._writer = self._new_writer()

    # -- Store --------------------------------------------------------------------------------------------------

    async def read(self, digest: bytes) -> Snapshot | None:
        now = self._clock.now()
        found = await self._point(lambda db: by_token(db, digest, now))
        return found.snapshot if found is not None else None

    async def begin(self, draft: Draft) -> Begun:
        return await self._write(beginning.begin, draft)

    async def offer(self, presented: bytes, salt: bytes, successor: bytes) -> bytes | None:
        return await self._write(rotation.offer, presented, salt, successor)

    async def confirm(self, successor: bytes) -> None:
        await self._write(rotation.confirm, successor)

    async def replace(self, presented: bytes, digest: bytes, method: Method | None, by: Actor) -> Snapshot:
        return await self._write(rotation.replace, presented, digest, method, by)

    async def touch(self, seen: Mapping[str, datetime]) -> None:
        rest = iter(seen.items())
        while some := dict(islice(rest, _TOUCHES)):
            await self._write(rotation.touch, some, lane=Lane.LATER)

    async def end(self, end: End) -> Ended:
        ended = await self._write(ending.end, end, lane=Lane.ENDINGS)
        return msgspec.structs.replace(ended, at=self._clock.now())

    async def sessions(
        self, *, uid: str | None = None, giver: str | None = None, root: str | None = None, ended: bool = False,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[SessionInfo]:  # fmt: skip
        now = self._clock.now()
        return await self._list(
            lambda db: listing.list_sessions(
                db, now, uid=uid, giver=giver, root=root, ended=ended, after=after, limit=limit
            )
        )

    async def handed_out(
        self, *, root: str | None = None, uid: str | None = None, after: str | None = None, limit: int = PAGE
    ) -> Page[Snapshot]:
        now = self._clock.now()
        return await self._list(lambda db: containing.handed_out(db, now, root, uid, after, limit))

    async def session(self, session_id: str) -> SessionInfo | None:
        now = self._clock.now()
        return await self._point(lambda db: listing.show_session(db, session_id, now))

    async def read_data(self, session_id: str) -> tuple[int, bytes]:
        return await self._point(lambda db: rotation.read_data(db, session_id))

    async def write_data(self, session_id: str, version: int, data: bytes) -> bool:
        return await self._write(rotation.write_data, session_id, version, data)

    async def sweep(self, limit: int = 500) -> int:
        return await self._write(upkeep.sweep, limit, lane=Lane.LATER)

    # -- Directory ----------------------------------------------------------------------------------------------

    async def fence(self, name: str) -> tuple[Principal, Fence] | None:
        return await self._point(lambda db: directory.find_fence(db, name))

    async def principal(self, *, name: str | None = None, uid: str | None = None) -> Principal | None:
        if name is not None:
            return await self._point(lambda db: directory.find_named(db, name))
        return await self._point(lambda db: directory.find_principal(db, uid)) if uid is not None else None

    async def principals(
        self, *, kind: PrincipalKind | None = None, search: str = "", owner: str | None = None,
        after: str | None = None, limit: int = PAGE,
    ) -> Page[Principal]:  # fmt: skip
        return await self._list(lambda db: directory.list_principals(db, kind, search, owner, after, limit))

    async def register(self, principal: Principal, by: Actor, credential: Credential | None = None) -> None:
        await self._write(directory.register, principal, by, credential)

    async def describe(self, uid: str, *, owner: str | None, purpose: str, by: Actor) -> Principal:
        return await self._write(directory.describe, uid, owner, purpose, by)

    async def policy(self, name: str) -> Policy | None:
        return await self._point(lambda db: directory.find_policy(db, name))

    async def policies(self) -> Sequence[Policy]:
        return await self._point(directory.all_policies)

    async def set_policy(self, policy: Policy, by: Actor) -> Ended:
        ended = await self._write(directory.set_policy, policy, by, lane=Lane.ENDINGS)
        return msgspec.structs.replace(ended, at=self._clock.now())

    async def credential(self, uid: str, kind: str, id: str = "") -> Credential | None:
        return await self._point(lambda db: directory.find_credential(db, uid, kind, id))

    async def credentials(self, uid: str) -> Sequence[Credential]:
        return await self._point(lambda db: directory.all_credentials(db, uid))

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
        self, *, after: int = 0, limit: int = PAGE, uid: str | None = None, session: str | None = None,
        latest: bool = False,
    ) -> Sequence[Event]:  # fmt: skip
        return await self._list(lambda db: directory.list_events(db, after, limit, uid, session, latest))

    async def containment(self, id: str) -> Contained | None:
        return await self._point(lambda db: containing.find(db, id))

    async def open_containments(self, limit: int = PAGE) -> Sequence[str]:
        return await self._list(lambda db: containing.still_open(db, limit))

    async def settle_containment(self, id: str, state: ContainmentState, report: bytes, event: Event) -> None:
        await self._write(containing.settle, id, state, report, event)

    async def verify_events(self, after: Verified) -> Verified:
        return await self._list(lambda db: directory.verify_events(db, after))

    async def fact(self, name: str) -> bytes | None:
        return await self._point(lambda db: directory.find_fact(db, name))

    async def set_fact(self, name: str, value: bytes) -> bytes:
        return await self._write(directory.set_fact, name, value)

    async def statistics(self) -> Mapping[str, int]:
        now = self._clock.now()
        return await self._list(lambda db: directory.statistics(db, now))

"""The SQLite store from above: which connection answers what."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from sessile.clock import Clock
from sessile.errors import SessileError, StoreUnavailable
from sessile.kernel.decide import Snapshot
from sessile.near import NearCache
from sessile.stores import fork
from sessile.stores.sql.snapshots import by_token
from sessile.stores.sql.store import Ends, Lane, SQLStore
from sessile.stores.sql.transaction import Db
from sessile.stores.sqlite.aside import Aside
from sessile.stores.sqlite.connection import Connection, is_busy, translated, when_free
from sessile.stores.sqlite.follow import Follower
from sessile.stores.sqlite.log import log_bytes, shorten_log
from sessile.stores.sqlite.schema import prepare
from sessile.stores.sqlite.writer import Writer

T = TypeVar("T")


class SQLiteStore(SQLStore):
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
            when_free(lambda: self._follower.open(near))
        except sqlite3.Error as error:
            raise translated(error) from error
        if self._writer is None:
            self._writer = self._new_writer()
        fork.watch(self)

    def _new_writer(self) -> Writer:
        connection = Connection(self.path, query_only=False)
        return Writer(connection, self._clock, lambda db: shorten_log(db, self.path), self.tell)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        fork.unwatch(self)
        if writer is not None:
            await asyncio.to_thread(writer.close)
        self._follower.close()
        await asyncio.to_thread(self._aside.close)

    # -- ways to the file ---------------------------------------------------------------------------------------

    async def read(self, digest: bytes) -> Snapshot | None:
        found = await self._point(lambda db, now: by_token(db, digest, now))
        return found.snapshot if found is not None else None

    async def _point(self, read: Callable[[Db, datetime], T]) -> T:
        """At once. Only where that would have to wait, it goes to a thread."""
        now = self._clock.now()
        try:
            return self._follower.run(lambda db: read(db, now))
        except sqlite3.Error as error:
            if not is_busy(error):
                self._follower.close()
        except StoreUnavailable:
            pass
        return await self._list(read)

    async def _list(self, read: Callable[[Db, datetime], T]) -> T:
        """In a thread."""
        now = self._clock.now()
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        try:
            # Another file lay at the path, or this process is a child: see that checks can read again, too.
            if not self._follower.is_open:
                await asyncio.to_thread(self._follower.open)
            return await self._aside.run(lambda db: read(db, now))
        except sqlite3.Error as error:
            raise translated(error) from error

    async def _write(self, work: Callable[..., T], *args: object, lane: Lane = Lane.CHANGES) -> T:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return await self._writer.run(lambda tx: work(tx, *args), lane)

    async def _end(self, work: Callable[..., Ends], *args: object, lane: Lane = Lane.ENDINGS) -> Ends:
        ended = await self._write(work, *args, lane=lane)
        return msgspec.structs.replace(ended, at=self._clock.now())

    async def statistics(self) -> Mapping[str, int]:
        return {**await super().statistics(), "log_bytes": log_bytes(self.path)}

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

"""Changes and lists: threads, each with a connection of its own. Transactions are retried here and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg

from sessile.errors import Conflict, StoreUnavailable
from sessile.kernel.event import Event
from sessile.stores import limits
from sessile.stores.postgres.address import Address, is_majority
from sessile.stores.postgres.dialect import Db
from sessile.stores.postgres.engine import NOW, abandon, begin, connect, hang_up, said, translated
from sessile.stores.postgres.transaction import Transaction
from sessile.stores.sql.rows import datetime_of
from sessile.trust import Mark

T = TypeVar("T")

logger = logging.getLogger("sessile")

_AGAIN = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation)
"""Another transaction was in the way. A unique row that appeared meanwhile is found by the next attempt."""


class Done(NamedTuple, Generic[T]):
    """A change after its commit."""

    result: T
    at: datetime
    """The engine's clock, read after the acknowledgement."""
    announced: list[str]
    head: Mark | None
    recorded: Sequence[Event]


class Threads:
    """So many threads, and as many connections, opened when they are needed."""

    def __init__(
        self, address: Address, count: int, name: str, wall: Callable[[], datetime] | None,
        tell: Callable[[Sequence[Event]], None],
    ) -> None:  # fmt: skip
        self._address = address
        self._tell = tell
        self._wall = wall
        self._pool = ThreadPoolExecutor(count, f"sessile-postgres-{name}")
        self._own = threading.local()
        self._open: set[psycopg.Connection[Any]] = set()
        self._waiting = 0
        self._write = begin(address.schema, read_only=False)
        self._read = begin(address.schema, read_only=True)

    async def change(self, work: Callable[[Transaction], T], life: str | None) -> Done[T]:
        """Run a change in the engine's life `life`; None: in whichever it is.

        Raises:
            StoreUnavailable: not done, or (while committing) perhaps done. And whatever `work` raises.
        """
        return await self._run(lambda db: self._change(db, work, life))

    async def read(self, work: Callable[[Db, datetime], T], life: str) -> T:
        """Run a read, of one instant. Raises as `change`."""
        return await self._run(lambda db: self._look(db, work, life))

    def hang_up(self) -> None:
        """End every connection, under whoever waits for an answer: it is asked again, elsewhere."""
        for connection in tuple(self._open):
            hang_up(connection)

    def close(self) -> None:
        """Finish what was accepted. Blocks."""
        self._pool.shutdown()
        for connection in self._open:
            connection.close()
        self._open.clear()

    def abandon(self) -> None:
        """In a forked child: this object, whose threads stayed behind, is not used any more."""
        for connection in self._open:
            abandon(connection)

    # -- on the loop --------------------------------------------------------------------------------------------

    async def _run(self, job: Callable[[psycopg.Connection[Any]], T]) -> T:
        if self._waiting >= limits.QUEUE:
            raise StoreUnavailable("too many changes are waiting for PostgreSQL: try again")
        running: list[psycopg.Connection[Any]] = []
        self._waiting += 1
        try:
            submitted = self._pool.submit(self._work, job, running)
        except RuntimeError:
            self._waiting -= 1
            raise StoreUnavailable("the store is closed") from None
        future = asyncio.wrap_future(submitted)
        future.add_done_callback(self._finished)
        done, _ = await asyncio.wait((future,), timeout=limits.WRITE_SECONDS)
        if not done:
            future.add_done_callback(_forget)
            if not submitted.cancel():
                for connection in running:
                    hang_up(connection)
            raise StoreUnavailable("PostgreSQL does not answer in time: it may or may not have been done")
        return future.result()

    def _finished(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled() and future.exception() is None and isinstance(done := future.result(), Done):
            self._tell(done.recorded)

    # -- in a thread --------------------------------------------------------------------------------------------

    def _work(self, job: Callable[[psycopg.Connection[Any]], T], running: list[psycopg.Connection[Any]]) -> T:
        pause = limits.RETRY_SECONDS
        fresh = quiet = False
        for attempt in range(limits.ATTEMPTS):
            last = attempt == limits.ATTEMPTS - 1
            try:
                db, fresh = self._connection()
                running[:] = [db]
                self._own.quiet = quiet
                return job(db)
            except _Stale as stale:
                # It broke while nobody used it: the engine was restarted.
                self._drop()
                if fresh or last:
                    raise translated(stale.error) from stale.error
            except _AGAIN as error:
                self._rollback()
                if isinstance(error, psycopg.errors.UniqueViolation) and attempt:
                    raise Conflict("it exists already") from error
                if last:
                    raise StoreUnavailable("PostgreSQL is too busy: try again") from error
                time.sleep(random.random() * pause)  # noqa: S311 - a pause
                pause *= 2
            except psycopg.errors.ProgramLimitExceeded as error:
                self._rollback()
                if quiet or last:
                    raise translated(error) from error
                # The queue of announcements: whoever it is that listens and does not read, endings do not wait for it.
                logger.error("not announced, every node finds it out by itself: %s", said(error))
                quiet = True
            except psycopg.Error as error:
                self._rollback()
                raise translated(error) from error
            except BaseException:
                self._rollback()
                raise
        raise AssertionError("unreachable")

    def _connection(self) -> tuple[psycopg.Connection[Any], bool]:
        db: psycopg.Connection[Any] | None = getattr(self._own, "db", None)
        if db is not None and not db.closed:
            return db, False
        db = connect(self._address.main, pooled=self._address.pooled)
        db.add_notice_handler(self._noticed)
        self._own.db = db
        self._open.add(db)
        return db, True

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # A commit that gave up waiting for the standbys says so in a warning, and then reports success.
        if notice.severity_nonlocalized == "WARNING":
            self._own.warned = notice.message_primary or "a warning"

    def _rollback(self) -> None:
        db: psycopg.Connection[Any] | None = getattr(self._own, "db", None)
        try:
            if db is not None and not db.closed:
                db.execute("ROLLBACK")
                return
        except psycopg.Error:
            pass
        self._drop()

    def _drop(self) -> None:
        db: psycopg.Connection[Any] | None = getattr(self._own, "db", None)
        self._own.db = None
        if db is not None:
            self._open.discard(db)
            with contextlib.suppress(psycopg.Error):
                db.close()

    def _begin(self, db: psycopg.Connection[Any], sql: str, life: str | None) -> datetime:
        try:
            cursor = db.execute(sql.encode())
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise _Stale(error) from error
        while cursor.nextset():
            pass
        found = cursor.fetchone()
        if found is None or not found[0] or (life is not None and found[0] != life):
            self._drop()  # the next one is to whom is followed by then
            raise StoreUnavailable("this PostgreSQL was started anew or is a standby: it is looked at first")
        if self._address.quorum and sql is self._write and not is_majority(found[2]):
            raise StoreUnavailable(f"synchronous_standby_names = '{found[2]}' is no majority")
        return datetime_of(found[1])

    def _change(self, db: psycopg.Connection[Any], work: Callable[[Transaction], T], life: str | None) -> Done[T]:
        tx = Transaction(
            db, self._address.schema, self._begin(db, self._write, life), self._wall, quiet=self._own.quiet
        )
        result = work(tx)
        self._own.warned = None
        if self._address.quorum:
            # A commit whose wait for the standbys is cut short is one all the same, here alone, and is announced: nodes
            # would take the next primary, which has never heard of it, for one that went back in time.
            db.execute("SET LOCAL statement_timeout = 0")
        cursor = db.execute(f"COMMIT; SELECT {NOW}".encode())
        if self._own.warned is not None:
            raise StoreUnavailable(f"committed, but perhaps not on a standby ({self._own.warned}): repeat it")
        cursor.nextset()
        at = datetime_of(cursor.fetchall()[0][0]) if self._wall is None else self._wall()
        return Done(result, at, tx.announced, tx.head, tx.recorded)

    def _look(self, db: psycopg.Connection[Any], work: Callable[[Db, datetime], T], life: str) -> T:
        began = self._begin(db, self._read, life)
        result = work(Db(db), began if self._wall is None else self._wall())
        db.execute("COMMIT")
        return result


class _Stale(Exception):
    """A connection that broke while nobody used it."""

    def __init__(self, error: psycopg.Error) -> None:
        super().__init__(str(error))
        self.error = error


def _forget(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()

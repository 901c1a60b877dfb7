"""The one writing connection of a process, in a thread of its own: what waits together is committed together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from sessile.clock import Clock
from sessile.errors import RevocationUncertain, SessileError, StoreUnavailable
from sessile.kernel.event import Event
from sessile.stores.sql.store import Lane
from sessile.stores.sqlite.connection import Connection, is_busy, translated, when_free
from sessile.stores.sqlite.transaction import Transaction

T = TypeVar("T")

BATCH = 256
"""Changes that one transaction takes at most."""
QUEUE = 10_000
"""Changes of a lane that may wait; more are refused at once."""

# After these a failed COMMIT has certainly committed nothing.
_NOTHING_WRITTEN = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})


class _Job(Generic[T]):
    __slots__ = ("error", "future", "lane", "loop", "recorded", "result", "work")

    def __init__(self, work: Callable[[Transaction], T], lane: Lane) -> None:
        self.work = work
        self.lane = lane
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: T | None = None
        self.error: BaseException | None = None
        self.recorded: Sequence[Event] = ()


class Writer:
    """Runs changes, each all or nothing, in groups that share one commit.

    A change runs in a savepoint: if it raises, it alone is undone. Its caller is told after the commit. A caller
    that is cancelled undoes nothing.
    """

    def __init__(
        self, connection: Connection, clock: Clock, tidy: Callable[[sqlite3.Connection], None],
        tell: Callable[[Sequence[Event]], None],
    ) -> None:  # fmt: skip
        self._connection = connection
        self._clock = clock
        self._tidy = tidy
        self._tell = tell
        self._wake = threading.Condition()
        self._lanes: tuple[deque[_Job[Any]], ...] = tuple(deque() for _ in Lane)
        self._thread: threading.Thread | None = None
        self._closing = False
        self._busy = threading.Lock()
        """Held while a transaction runs."""

    async def run(self, work: Callable[[Transaction], T], lane: Lane = Lane.CHANGES) -> T:
        """The result of `work`, after the commit that makes it durable. Raises what it raises.

        Raises:
            StoreUnavailable: it was not done: closed, the queue is full, or the database does not answer.
            RevocationUncertain: an ending whose commit may or may not have happened.
        """
        job = _Job(work, lane)
        with self._wake:
            if self._closing:
                raise StoreUnavailable("the store is closed")
            if len(self._lanes[lane]) >= QUEUE:
                raise StoreUnavailable("too many changes are waiting for the database: try again")
            self._lanes[lane].append(job)
            if self._thread is None:
                # A daemon: a program that forgets to close the store still ends. What was acknowledged is on disk.
                self._thread = threading.Thread(target=self._work, name="sessile-sqlite-writer", daemon=True)
                self._thread.start()
            self._wake.notify()
        return await job.future

    def close(self) -> None:
        """Finish what was accepted. Blocks; not to be called on a loop."""
        with self._wake:
            self._closing = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join()
        self._connection.close()

    def pause(self) -> None:
        """Wait for the transaction that runs, close the connection, and begin no other until `resume`."""
        self._busy.acquire()
        self._connection.close()

    def resume(self) -> None:
        self._busy.release()

    def abandon(self) -> None:
        """In a forked child: this object, whose thread stayed behind, is not used any more."""
        self._connection.abandon()

    def _work(self) -> None:
        while batch := self._take():
            with self._busy:
                try:
                    self._commit(batch)
                except Exception as error:  # whatever it is, the thread goes on and nobody waits for ever
                    self._give_up(batch, error, unknown=True)
            self._deliver(batch)

    def _take(self) -> list[_Job[Any]]:
        with self._wake:
            while not (self._closing or any(self._lanes)):
                self._wake.wait()
            batch: list[_Job[Any]] = []
            for lane in self._lanes:
                while lane and len(batch) < BATCH:
                    batch.append(lane.popleft())
            return batch

    def _commit(self, batch: list[_Job[Any]]) -> None:
        try:
            db = when_free(self._begin)
        except Exception as error:
            self._give_up(batch, error)
            return
        try:
            for job in batch:
                self._run(db, job)
        except sqlite3.Error as error:
            # The transaction as a whole is gone (disk full, an I/O error): nothing of the batch was written.
            self._give_up(batch, error)
            return
        self._finish(db, batch)

    def _begin(self) -> sqlite3.Connection:
        db = self._connection.get()
        db.execute("BEGIN IMMEDIATE")
        return db

    def _run(self, db: sqlite3.Connection, job: _Job[Any]) -> None:
        db.execute("SAVEPOINT change")
        try:
            transaction = Transaction(db, self._clock.now())
            job.result = job.work(transaction)
            job.recorded = transaction.recorded
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not db.in_transaction:
                raise
            job.error = translated(error) if isinstance(error, sqlite3.Error) else error
            db.execute("ROLLBACK TO change")
        db.execute("RELEASE change")

    def _finish(self, db: sqlite3.Connection, batch: list[_Job[Any]]) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
            self._give_up(batch, error, unknown=code not in _NOTHING_WRITTEN)
            return
        if self._connection.moved():
            # Written into a file that is at its place no more: who opens the path does not see it.
            self._give_up(batch, StoreUnavailable("the database was replaced by another file"), unknown=True)
            return
        if batch[-1].lane is not Lane.LATER:
            return
        try:
            self._tidy(db)
        except sqlite3.Error as error:
            if not is_busy(error):
                self._connection.close()

    def _give_up(self, batch: list[_Job[Any]], cause: Exception, *, unknown: bool = False) -> None:
        error = translated(cause) if isinstance(cause, sqlite3.Error) else cause
        said = str(error) if isinstance(error, SessileError) else f"the database does not answer: {error}"
        for job in batch:
            if unknown and job.lane is Lane.ENDINGS:
                job.error = RevocationUncertain(f"{said}. It may or may not be in force: repeat it")
            else:
                # Also where a change raised by itself: what it saw was not committed either.
                job.error = StoreUnavailable(said)
        # Whatever state it is in: closing rolls back, and the next batch opens a new one.
        self._connection.close()

    def _deliver(self, batch: list[_Job[Any]]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[_Job[Any]]] = {}
        for job in batch:
            loops.setdefault(job.loop, []).append(job)
        for loop, jobs in loops.items():
            try:
                loop.call_soon_threadsafe(self._settle, jobs)
            except RuntimeError:  # the loop is closed: nobody is waiting any more
                continue

    def _settle(self, jobs: list[_Job[Any]]) -> None:
        for job in jobs:
            if job.error is None:
                self._tell(job.recorded)
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

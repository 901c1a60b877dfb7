"""The PostgreSQL store from above: which connection answers what."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeVar

import msgspec
import psycopg

from sessile.clock import Clock, SystemClock
from sessile.errors import EngineAway, StoreUnavailable
from sessile.follow import Asked, Follower
from sessile.kernel.decide import Snapshot
from sessile.kernel.event import SYSTEM
from sessile.kernel.session import SessionKind
from sessile.near import NearCache
from sessile.stores import fork, limits
from sessile.stores.health import Finding
from sessile.stores.postgres import reading
from sessile.stores.postgres.address import parse
from sessile.stores.postgres.engine import said
from sessile.stores.postgres.health import examine
from sessile.stores.postgres.listening import Listener
from sessile.stores.postgres.schema import prepare
from sessile.stores.postgres.transaction import Transaction
from sessile.stores.postgres.writing import Done, Threads
from sessile.stores.protocol import End
from sessile.stores.sql import ending
from sessile.stores.sql.store import Ends, Lane, SQLStore
from sessile.stores.sql.transaction import Db
from sessile.trust import Delta, change_delta, settle

T = TypeVar("T")

logger = logging.getLogger("sessile")


class _Running:
    """What an open store has on its loop."""

    def __init__(self, store: PostgresStore) -> None:
        address, wall = store.address, store.wall
        self.readers = reading.Readers(address, (store.check, store.data))
        self.changes = Threads(address, limits.WRITERS, "writer", wall, store.tell)
        self.endings = Threads(address, limits.ENDINGS, "ending", wall, store.tell)
        self.lists = Threads(address, limits.LISTS, "reader", wall, store.tell)
        self.listener = Listener(
            address, store.follower, store.clock, store.learn_delta, self.moved, store.raise_everyone
        )
        self.task: asyncio.Task[None] | None = None

    def moved(self) -> None:
        """Leave the engine that was followed before."""
        self.readers.renew()
        for threads in (self.changes, self.endings, self.lists):
            threads.hang_up()

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait((self.task,))
        self.readers.close()
        for threads in (self.changes, self.endings, self.lists):
            await asyncio.to_thread(threads.close)

    def abandon(self) -> None:
        self.listener.abandon()
        self.readers.abandon()
        for threads in (self.changes, self.endings, self.lists):
            threads.abandon()


class PostgresStore(SQLStore):
    """`Store` and `Directory` in a schema of a PostgreSQL database, for any number of nodes.

    Args:
        url: see `address.parse`.
        clock: `elapsed` is what trust is measured by. The wall clock is the engine's, unless this is not the system's
            clock (tests): then it is this one's.

    Raises:
        ValueError: not such a URL.
    """

    local = False
    partitioned = False

    def __init__(self, url: str, *, clock: Clock, create: bool = True) -> None:
        self.address = parse(url)
        self._reach: Literal["engine", "quorum"] = "quorum" if self.address.quorum else "engine"
        self.delta = timedelta(0)
        self.clock = clock
        self.wall: Callable[[], datetime] | None = None if isinstance(clock, SystemClock) else clock.now
        self._create = create
        self.follower = Follower(NearCache(1), quorum=self.address.quorum, gapless=True)
        self._near: NearCache | None = None
        self._trust = self.follower.trust
        self._running: _Running | None = None
        self._opened = False
        self._reopening = asyncio.Lock()
        self.check = reading.check(self.address.schema)
        self.data = reading.data(self.address.schema)

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self, near: NearCache) -> None:
        """Connect, migrate, follow. While the engine is away it is waited for (`limits.START_SECONDS`; later: not).

        Raises:
            EngineAway: it is still away. StoreUnavailable: see `schema.prepare`.
        """
        patience = 0.0 if self._opened else limits.START_SECONDS
        self._opened = True
        until = time.monotonic() + patience
        await self._wait_for(until)
        if near is not self._near:
            self._near = near
            self.follower = Follower(near, quorum=self.address.quorum, gapless=True)
            self._trust = self.follower.trust
        if self._running is None:
            await self._start(max(limits.CONNECT_SECONDS, until - time.monotonic()))

    async def _wait_for(self, until: float) -> None:
        complain = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                return await asyncio.to_thread(prepare, self.address, create=self._create)
            except psycopg.Error as error:
                now = time.monotonic()
                self.address.turn()
                if attempt < self.address.hosts:
                    continue
                if now >= until:
                    raise EngineAway(f"PostgreSQL at {self.address.shown} is away: {said(error)}") from error
                if now >= complain:
                    complain = now + limits.COMPLAIN_SECONDS
                    logger.warning("waiting for PostgreSQL at %s: %s", self.address.shown, said(error))
                await asyncio.sleep(0.25)

    async def _start(self, seconds: float) -> None:
        running = self._running = _Running(self)
        running.task = asyncio.get_running_loop().create_task(running.listener.run())
        try:
            await asyncio.wait_for(running.listener.vetted.wait(), seconds)
        except BaseException as error:
            self._running = None
            await running.close()
            if isinstance(error, TimeoutError):
                why = running.listener.complaint or f"PostgreSQL at {self.address.shown} cannot be followed"
                raise StoreUnavailable(why) from None
            raise
        fork.watch(self)

    async def close(self) -> None:
        running, self._running = self._running, None
        self._near_again = False
        fork.unwatch(self)
        self.follower.lost()
        if running is not None:
            await running.close()

    _near_again = False
    """A forked child, which opens what it needs at its first question."""

    def before_fork(self) -> None:
        pass

    def after_fork_in_parent(self) -> None:
        pass

    def after_fork_in_child(self) -> None:
        running, self._running = self._running, None
        self.follower.lost()
        self._near_again = running is not None
        self._reopening = asyncio.Lock()
        if running is not None:
            running.abandon()

    async def _ready(self) -> _Running:
        running = self._running
        if running is not None:
            return running
        if not self._near_again:
            raise StoreUnavailable("the store is not open")
        async with self._reopening:
            if self._running is None:
                await self._start(limits.CONNECT_SECONDS)
        return await self._ready()

    # -- trust --------------------------------------------------------------------------------------------------

    def learn_delta(self, delta: int) -> None:
        """Nanoseconds, as the store tells them."""
        self.delta = timedelta(microseconds=delta / 1000)

    def current(self, now: int, partition: str | None = None) -> bool:
        """See `Store.current`."""
        return now < self._trust.deadline

    async def _admit(self, running: _Running, asked: Asked, answer: reading.Answer) -> None:
        """Raises StoreUnavailable unless what was read counts after all."""
        life, mark = answer.life, answer.mark
        if life == running.listener.life and self.address.quorum:
            # Only the next answer of a majority may be missing.
            for _ in range(int(limits.STATEMENT_SECONDS / 0.02)):
                await asyncio.sleep(0.02)
                if self.follower.admits(asked, life, mark):
                    return
        running.listener.wake.set()
        running.readers.renew()
        raise StoreUnavailable("this PostgreSQL was started anew, or went back in time: it is looked at first")

    # -- ways to the engine -------------------------------------------------------------------------------------

    async def read(self, digest: bytes) -> Snapshot | None:
        running = self._running or await self._ready()
        asked = self.follower.asking(self.clock.elapsed())
        answer = await running.readers.ask(self.check, digest)
        if not self.follower.admits(asked, answer.life, answer.mark):
            await self._admit(running, asked, answer)
        return reading.snapshot(answer, self.wall() if self.wall is not None else None)

    async def read_data(self, session_id: str) -> tuple[int, bytes]:
        running = self._running or await self._ready()
        asked = self.follower.asking(self.clock.elapsed())
        answer = await running.readers.ask(self.data, session_id.encode())
        if not self.follower.admits(asked, answer.life, answer.mark):
            await self._admit(running, asked, answer)
        version, data, *_ = answer.row
        return (0, b"") if version is None else (version, data)

    async def _point(self, read: Callable[[Db, datetime], T]) -> T:
        running = await self._ready()
        return await running.lists.read(read, self._life(running))

    _list = _point

    def _life(self, running: _Running) -> str:
        life = running.listener.life
        if life is None:
            raise StoreUnavailable("this PostgreSQL went back in time: everybody's sessions are being ended")
        return life

    async def _write(self, work: Callable[..., T], *args: object, lane: Lane = Lane.CHANGES) -> T:
        running = await self._ready()
        return (await self._done(running, running.changes, work, *args)).result

    async def _end(self, work: Callable[..., Ends], *args: object, lane: Lane = Lane.ENDINGS) -> Ends:
        running = await self._ready()
        threads = running.endings if lane is Lane.ENDINGS else running.changes
        done = await self._done(running, threads, work, *args)
        return msgspec.structs.replace(done.result, at=done.at, reach=self._reach)

    async def _done(self, running: _Running, threads: Threads, work: Callable[..., T], *args: object) -> Done[T]:
        try:
            done = await threads.change(lambda tx: work(tx, *args), self._life(running))
        except StoreUnavailable:
            running.listener.wake.set()
            raise
        if done.head is not None:
            self.follower.acknowledged(done.head)
            # Its announcement is on its way as well; for this node it is in force at once.
            self.follower.invalidated(done.announced)
        return done

    async def statistics(self) -> Mapping[str, int]:
        counts = await super().statistics()
        return {**counts, "queue_ppm": round((await self._ready()).listener.queue * 1_000_000)}

    async def health(self) -> list[Finding]:
        """How the engine is set up, what is wrong first. Raises StoreUnavailable."""
        deaf = (await self._ready()).listener.strict
        found = await self._list(lambda db, _: examine(db, self.address, deaf))
        return sorted(found, key=lambda finding: ("fail", "warn", "ok").index(finding.level))

    async def raise_everyone(self, life: str, raised: str) -> None:
        """End everybody's sessions, because the engine went back in time; once, whichever node is first."""

        def work(tx: Transaction) -> None:
            tx.lock_everyone(change=True)
            if tx.rows("SELECT raised FROM everyone")[0][0] != raised:
                return
            ending.end(tx, End(everyone=frozenset(SessionKind), cause="the store went back in time", by=SYSTEM))
            assert tx.head is not None  # noqa: S101 - an ending announces
            tx.change("UPDATE everyone SET raised = ?", f"{life} {tx.head.head}")

        running = await self._ready()
        await running.endings.change(work, life)

    async def change_delta(self, to: timedelta) -> None:
        """Change Δ for all nodes. Returns when it holds everywhere, after the old and the new Δ.

        Raises:
            ValueError: not between 20 ms and 1 minute. StoreUnavailable: repeat it.
        """
        if not timedelta(milliseconds=20) <= to <= timedelta(minutes=1):
            raise ValueError("Δ is between 20 milliseconds and 1 minute")
        wanted = int(to / timedelta(microseconds=1)) * 1000

        def first(tx: Transaction) -> tuple[Delta, Delta]:
            tx.lock_record()
            both = change_delta(Delta(*tx.rows("SELECT trust, wait FROM everyone")[0]), wanted)
            tx.change("UPDATE everyone SET trust = ?, wait = ?", both[0].trust, both[0].wait)
            return both

        def second(tx: Transaction) -> None:
            tx.lock_record()
            # Only if nobody else changed it meanwhile.
            tx.change(
                "UPDATE everyone SET trust = ?, wait = ? WHERE trust = ? AND wait = ?",
                then.trust, then.wait, now.trust, now.wait,
            )  # fmt: skip

        running = await self._ready()
        now, then = (await self._done(running, running.endings, first)).result
        since = self.clock.elapsed()
        await asyncio.sleep(max(0.0, (since + settle(now.wait, 1e-3) - self.clock.elapsed()) / 1e9))
        await self._done(running, running.endings, second)

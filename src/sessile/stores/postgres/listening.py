"""The connection of the near cache: announcements and the answers to pings, in the order of the wire.

It is nobody else's: no pool, no driver that reconnects. libpq is driven by hand, so that what arrives is applied in
the turn in which it was read. PostgreSQL may send an announcement that was committed before a ping reached it after
the ping's row, but never after its ReadyForQuery: an answer counts when that was read, behind all announcements that
were read by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import psycopg
from psycopg import pq

from sessile.clock import Clock
from sessile.errors import SessileError
from sessile.follow import PINGS_PER_DELTA, Follower
from sessile.stores import limits
from sessile.stores.postgres.address import Address, is_majority
from sessile.stores.postgres.engine import DURABLE, LIFE, STANDBYS, abandon, last, said
from sessile.trust import Facts, Mark

logger = logging.getLogger("sessile")

_PING = b"sessile_ping"


class Told(msgspec.Struct, frozen=True):
    """What the engine says of itself."""

    facts: Facts
    life: str
    raised: str
    """In which life all epochs were raised because the engine had gone back, and the head of that row."""
    queue: float
    """How full the queue of announcements is, from 0 to 1."""


class Lost(Exception):
    """The connection does not count any more."""


class Listener:
    """Follows the engine while its task runs.

    Args:
        learned: is told Δ, in nanoseconds, whenever it is another one.
        moved: is called when another life of the engine is followed, or another engine: what still waits for the one
            before waits in vain.
        raise_everyone: raise everybody's epochs, unless `raised` (`Told.raised`) changed meanwhile.
    """

    def __init__(
        self, address: Address, follower: Follower, clock: Clock, learned: Callable[[int], None],
        moved: Callable[[], None], raise_everyone: Callable[[str, str], Awaitable[None]],
    ) -> None:  # fmt: skip
        self._address = address
        self._follower = follower
        self._clock = clock
        self._learned = learned
        self._moved = moved
        self._raise_everyone = raise_everyone
        self._channel = f"sessile_{address.schema}"
        # Per address: what the poolers' said is asked over the same way as everything else.
        self._facts_sql = _facts(address.schema, quorum=address.quorum)
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._asked: int | None = None
        self._row: list[bytes | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._nonces: dict[str, asyncio.Future[None]] = {}
        self._warned: str | None = None
        self._raised_seen: str | None = None
        self.complaint = ""
        """Why the engine is not followed, or not listened to."""
        self.life: str | None = None
        """The engine's life that was looked at: what is read from another one does not count."""
        self.delta = 0
        """Δ, in nanoseconds, as last told."""
        self.queue = 0.0
        self.strict = False
        """Announcements do not reach this process: every check asks the engine."""
        self.vetted_lives = 0
        """How often an engine was looked at, and found good."""
        self.vetted = asyncio.Event()
        """The engine was looked at."""
        self.wake = asyncio.Event()
        """Set by whoever found that the engine is another one by now."""

    async def run(self) -> None:
        """Follow, lose it, follow again; until it is cancelled."""
        failed = 0
        while True:
            known = self.vetted_lives
            try:
                await self._follow()
            except (psycopg.Error, OSError, Lost, SessileError, TimeoutError) as error:
                self._complain(f"not following PostgreSQL at {self._address.shown}: {said(error)}")
            except Exception:
                logger.exception("following PostgreSQL failed; trying again")
            finally:
                self._let_go()
            self.wake.clear()
            failed = 0 if known != self.vetted_lives else failed + 1
            if failed:
                # Another host may be the primary by now. Each is tried before there is a pause.
                self._address.turn()
                if failed % self._address.hosts:
                    continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), self._follower.backoff(random.random()))  # noqa: S311

    def abandon(self) -> None:
        """In a forked child."""
        if self._connection is not None:
            abandon(self._connection)

    # -- set-up -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        connection = self._connection = await self._connect(self._address.listen)
        connection.add_notify_handler(lambda notify: self._notified(notify.payload))
        connection.add_notice_handler(self._noticed)
        self._warned = None
        async with asyncio.timeout(2 * limits.CONNECT_SECONDS):
            if self._address.quorum:
                # A ping that no majority answers is given up by the engine too: else it would wait there for ever.
                timeout = f"SET statement_timeout = {int(limits.STATEMENT_SECONDS * 1000)}"
                await connection.execute(f"{timeout}; {DURABLE.format(local='false')}".encode())
            await connection.execute(f'LISTEN "{self._channel}"'.encode())
            deaf, patience = "", None
            try:
                if not await self._hears(connection):
                    deaf = (
                        "announcements do not arrive: a pooler in transaction mode? Every check asks PostgreSQL;"
                        " name the engine's own address with listen=postgresql://… for checks from memory"
                    )
                    # What is prepared on one of the engine's connections is not there on the next.
                    self._address.pooled = True
            except psycopg.errors.ProgramLimitExceeded as error:
                # Somebody listens and does not read; endings go on without it (review 24).
                deaf = f"every check asks PostgreSQL until its queue of announcements has room: {said(error)}"
                patience = limits.DEAF_SECONDS
            if deaf:
                self._complain(deaf)
                self.strict = True
                await self._vet(connection)
            else:
                self.strict = False
                await connection.execute(b"PREPARE " + _PING + b" AS " + self._facts_sql)
                await self._vet(connection)
        if deaf:
            await self._stay_strict(patience)
            return
        if self.complaint:
            self.complaint = ""
            logger.info("following PostgreSQL at %s", self._address.shown)
        await self._read(connection)

    async def _connect(self, conninfo: str) -> psycopg.AsyncConnection[Any]:
        async with asyncio.timeout(limits.CONNECT_SECONDS + 1):
            return await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=None)

    async def _hears(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Whether what another connection announces arrives on this one, unasked."""
        nonce = secrets.token_hex(16)
        arrived = self._nonces[nonce] = asyncio.get_running_loop().create_future()
        try:
            other = await self._connect(self._address.main)
            async with other:
                await other.execute(f"SET statement_timeout = {int(limits.STATEMENT_SECONDS * 1000)}".encode())
                await other.execute("SELECT pg_notify(%s, %s)", (self._channel, f"? {nonce}"))
            with self._hearing(connection), contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(arrived), limits.SELF_TEST_SECONDS)
        finally:
            del self._nonces[nonce]
        return arrived.done()

    async def _vet(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Look at the engine: is it the one that was followed before, with all that is known to be in force?"""
        follower = self._follower
        known = follower.known
        told, past = await self._ask(connection, known)
        seen = self._raised_seen
        if not follower.set_up(known, told.facts, past):
            self.life = None
            logger.error(
                "PostgreSQL at %s has gone back in time (restored from a copy?): it lacks endings that were"
                " acknowledged. Everybody's sessions end",
                self._address.shown,
            )
            if told.raised.rpartition(" ")[0] != told.life or told.raised == seen:
                await self._raise_everyone(told.life, told.raised)
            told, _ = await self._ask(connection, known)
            if told.raised.rpartition(" ")[0] != told.life:
                raise Lost("it was started anew meanwhile")
            follower.adopt(told.facts)
        self._raised_seen = told.raised
        self._learn(told)
        if told.life != self.life:
            self.life = told.life
            self._moved()
        self.vetted_lives += 1
        self.vetted.set()

    async def _ask(self, connection: psycopg.AsyncConnection[Any], known: Mark) -> tuple[Told, str | None]:
        schema = self._address.schema
        sql = (
            f"SELECT told.*, (SELECT min(n) FROM {schema}.journal),"  # noqa: S608 - names of our own
            f" (SELECT head FROM {schema}.journal WHERE n = %(n)s) FROM ({self._facts_sql.decode()}) told"
        )
        cursor = await connection.execute(sql.encode(), {"n": known.number})
        row = await cursor.fetchone()
        self._no_warning()
        if row is None:
            raise Lost("there is no journal")
        told = self._told([None if value is None else str(value).encode() for value in row])
        oldest, past = row[-2], row[-1]
        return told, known.head if known.number == 0 or oldest > known.number else past

    def _told(self, row: list[bytes | None]) -> Told:
        pid, channels, system, life, mark, head, delta, raised, queue, standbys = (
            "" if value is None else value.decode() for value in row[:10]
        )
        if not life:
            raise Lost("it is a standby: name the primary")
        if self._channel not in channels.split(",") and not self.strict:
            raise Lost("the subscription is gone")
        if self._address.quorum and not is_majority(standbys):
            raise Lost(f"reach=quorum, but synchronous_standby_names = '{standbys}' is no majority: ANY 1 (two, three)")
        facts = Facts(
            identity=life, mark=int(mark), head=head, delta=int(delta), connection=f"{pid}/{channels}/{system}"
        )
        return Told(facts, life, raised, float(queue))

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # A commit that gave up waiting for the standbys says so in a warning, and then reports success.
        if notice.severity_nonlocalized == "WARNING":
            self._warned = notice.message_primary or "a warning"

    def _no_warning(self) -> None:
        if self._warned is not None:
            raise Lost(f"no majority answered ({self._warned})")

    def _learn(self, told: Told) -> None:
        self.queue = told.queue
        if told.facts.delta != self.delta:
            self.delta = told.facts.delta
            self._learned(self.delta)

    async def _stay_strict(self, patience: float | None) -> None:
        """Without announcements: look at the engine again when a read comes from another one, or after so many
        seconds."""
        self.wake.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.wake.wait()

    # -- steady -------------------------------------------------------------------------------------------------

    async def _read(self, connection: psycopg.AsyncConnection[Any]) -> None:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        self._asked = self._row = None
        connection.pgconn.nonblocking = 1
        with self._hearing(connection):
            try:
                self._beat(connection.pgconn)
                await self._ended
            finally:
                if self._timer is not None:
                    self._timer.cancel()

    @contextlib.contextmanager
    def _hearing(self, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
        loop, descriptor = asyncio.get_running_loop(), connection.fileno()
        loop.add_reader(descriptor, self._readable, connection.pgconn)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    def _beat(self, pgconn: pq.abc.PGconn) -> None:
        """A quarter of Δ has passed, by the loop's clock; whether a ping is due, the follower says."""
        now = self._clock.elapsed()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.005, self.delta / PINGS_PER_DELTA / 1e9), self._beat, pgconn)
        try:
            if self._asked is not None:
                if self._follower.overdue(now):
                    raise Lost("it owes an answer for too long")
            elif self._follower.due(now) <= now:
                self._asked = self._follower.ping(now)
                pgconn.send_query_prepared(_PING, None)
                if pgconn.flush() == 1:
                    raise Lost("it takes no more questions")
        except (psycopg.Error, Lost) as error:
            self._end(error)

    def _readable(self, pgconn: pq.abc.PGconn) -> None:
        """Something arrived: apply it, in order, in this turn."""
        try:
            pgconn.consume_input()
            while True:
                self._drain(pgconn)
                if pgconn.is_busy() or self._asked is None:
                    self._drain(pgconn)  # whatever was parsed by asking
                    return
                result = pgconn.get_result()
                if result is None:
                    self._drain(pgconn)
                    self._answered()
                elif result.status != pq.ExecStatus.TUPLES_OK or result.ntuples != 1:
                    raise Lost(f"it refuses the ping: {result.get_error_message()}")
                else:
                    self._row = [result.get_value(0, column) for column in range(result.nfields)]
        except Exception as error:  # whatever it is: nothing is trusted any more
            self._end(error)

    def _drain(self, pgconn: pq.abc.PGconn) -> None:
        while (notify := pgconn.notifies()) is not None:
            self._notified(notify.extra.decode())

    def _answered(self) -> None:
        number, row = self._asked, self._row
        self._asked = self._row = None
        if number is None or row is None:
            raise Lost("an answer without a question")
        self._no_warning()
        told = self._told(row)
        if not self._follower.pong(number, told.facts):
            raise Lost("it is another engine, or another connection to it, or not everything was announced")
        self._learn(told)

    def _notified(self, payload: str) -> None:
        number, _, rest = payload.partition(" ")
        if number == "?":
            if (arrived := self._nonces.get(rest)) is not None and not arrived.done():
                arrived.set_result(None)
            return
        head, _, name = rest.partition(" ")
        self._follower.invalidated((name,), Mark(int(number), head))

    def _end(self, error: BaseException) -> None:
        # Not in a later turn: nothing may be answered from memory any more.
        self._follower.lost()
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _let_go(self) -> None:
        self._follower.lost()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.pgconn.finish()

    def _complain(self, text: str) -> None:
        if text != self.complaint:
            self.complaint = text
            logger.warning("%s", text)


def _facts(schema: str, *, quorum: bool) -> bytes:
    """One row: what the engine says of itself. With `quorum` the question is a commit that the standbys confirm."""
    beat = "pg_logical_emit_message(true, 'sessile', '')" if quorum else "NULL"
    return (
        "SELECT pg_backend_pid(), (SELECT string_agg(c, ',' ORDER BY c) FROM pg_listening_channels() c),"  # noqa: S608
        f" (SELECT system_identifier FROM pg_control_system()), {LIFE}, j.n, j.head, e.trust, e.raised,"
        f" pg_notification_queue_usage(), {STANDBYS}, {beat} AS beat FROM {schema}.everyone e CROSS JOIN {last(schema)}"
    ).encode()

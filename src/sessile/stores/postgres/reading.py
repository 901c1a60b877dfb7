"""What a check reads, in one statement: the token, its session, all above it, and which engine answered.

libpq is driven by hand here, as in `listening`: a cursor of the driver's costs more than the statement. What is asked
is prepared once a connection, and answered in the turn in which the answer arrives.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import pq
from psycopg.adapt import Loader, Transformer

from sessile.errors import StoreUnavailable
from sessile.kernel.decide import Ancestor, Snapshot
from sessile.stores import limits
from sessile.stores.postgres.address import Address
from sessile.stores.postgres.engine import BORN, LIFE, abandon, hang_up, last, translated
from sessile.stores.sql.rows import (
    PRINCIPAL_COLUMNS,
    SESSION_COLUMNS,
    datetime_of,
    epochs_of,
    policy_of,
    principal_of,
    session_of,
    token_state,
)  # fmt: skip
from sessile.stores.sql.snapshots import Above, P, S, above_of
from sessile.trust import Mark

_SESSION = 5
"""Where the session's columns begin in what a check reads."""
_PRINCIPAL = _SESSION + len(SESSION_COLUMNS)
_ABOVE = _PRINCIPAL + len(PRINCIPAL_COLUMNS)
_BYTES = frozenset({"epoch", "everyone"})
_decode = msgspec.json.Decoder(list[tuple[str | None, dict[str, Any], dict[str, Any] | None]]).decode

Row = tuple[Any, ...]


class Question(NamedTuple):
    """A statement whose first parameter is asked for, and whose last columns are the life of the engine that answers,
    and its last row of the journal.

    The whole life is told only where each statement may reach another connection of the engine's (`pooled`). On a
    connection of our own it was told at the beginning, and only the rest of it is looked at: the process and the table.
    """

    name: bytes
    types: str
    direct: bytes
    pooled: bytes


class Answer(NamedTuple):
    row: Row
    life: str
    mark: Mark


def check(schema: str) -> Question:
    """One row; with an unknown token its session is NULL."""
    return _question(
        "check", "bytea",
        f"SELECT t.state, t.since, clock_timestamp(), e.epochs, y.rules, {S}, {P},"
        f" CASE WHEN s.lineage <> '[]' THEN {schema}.above(s.lineage) END",
        # Of one row, by its key: else the planner expects hundreds, and hashes the policies.
        f"FROM {last(schema)} JOIN {schema}.everyone e ON e.one = 1"
        f" LEFT JOIN ({schema}.token t JOIN {schema}.session s ON s.seq = t.session) ON t.digest = $1"
        f" LEFT JOIN {schema}.principal p ON p.uid = s.uid"
        f" LEFT JOIN {schema}.policy y ON y.name = coalesce(p.policy, 'default')",
    )  # fmt: skip


def data(schema: str) -> Question:
    """The application's data of a session, and its version; NULL if there is none."""
    return _question(
        "data", "text", "SELECT d.version, d.data",
        f"FROM {last(schema)} LEFT JOIN"
        f" ({schema}.session s JOIN {schema}.session_data d ON d.session = s.seq) ON s.id = $1",
    )  # fmt: skip


def _question(name: str, kind: str, select: str, where: str) -> Question:
    # Whoever answers is the process that was asked who it is, when the connection was opened. That one was primary, and
    # stays it as long as it lives.
    same = "CASE WHEN pg_postmaster_start_time() = $2 THEN j.tableoid END"
    return Question(
        f"sessile_{name}".encode(),
        f"{kind}, timestamptz",
        f"{select}, {same}, j.n, j.head {where}".encode(),
        f"{select}, {LIFE}, j.n, j.head {where.replace('$1', f'$1::{kind}')}".encode(),
    )


def snapshot(answer: Answer, now: datetime | None) -> Snapshot | None:
    """What `check` was answered; None: the token is unknown. `now`: the time, if it is not the engine's that counts."""
    row = answer.row
    state, since, clock, epochs, rules = row[:_SESSION]
    if state is None:
        return None
    session = session_of(row, _SESSION)
    ancestors: tuple[Ancestor, ...] = ()
    if session.lineage:
        found = _above(row[_ABOVE])
        ancestors = tuple([Ancestor(link, *found.get(link.session, (None, None, None))) for link in session.lineage])
    return Snapshot(
        session=session, principal=principal_of(row, _PRINCIPAL), policy=None if rules is None else policy_of(rules),
        ancestors=ancestors, everyone=epochs_of(epochs), token_state=token_state(state), token_since=datetime_of(since),
        now=datetime_of(clock) if now is None else now, mark=answer.mark.number,
    )  # fmt: skip


# The same for all that hang below the same sessions.
@lru_cache(maxsize=512)
def _above(text: str | None) -> Above:
    """Those above a session. Not to be changed: it is shared."""
    return above_of(
        [
            (rules, *_columns(SESSION_COLUMNS, session), *_columns(PRINCIPAL_COLUMNS, principal or {}))
            for rules, session, principal in (_decode(text) if text is not None else ())
        ],
        0,
    )


def _columns(names: tuple[str, ...], row: dict[str, Any]) -> Iterator[Any]:
    for name in names:
        value = row.get(name)
        if name in _BYTES and value is not None:
            if not value.startswith("\\x"):
                raise StoreUnavailable("PostgreSQL writes bytes in another form: set bytea_output = hex")
            value = bytes.fromhex(value[2:])
        yield value


class Readers:
    """Connections of the loop, for statements that see one instant by themselves."""

    def __init__(self, address: Address, questions: tuple[Question, ...]) -> None:
        self._address = address
        self._questions = questions
        self._idle: deque[_Line] = deque()
        self._all: set[_Line] = set()
        self._room = asyncio.Semaphore(limits.CHECKS)
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._away_until = 0.0
        """Until when nobody is made to wait again for an engine that has just not answered, by the loop's clock."""

    async def ask(self, question: Question, key: bytes) -> Answer:
        """Raises StoreUnavailable."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._away_until and asyncio.get_running_loop().time() < self._away_until:
            raise StoreUnavailable("PostgreSQL does not answer: it is asked again in a moment")
        if self._room.locked():
            await self._wait()
        else:
            await self._room.acquire()
        try:
            while self._idle:
                # It may have broken while nobody used it: then another one is asked.
                line = self._idle.pop()
                try:
                    return await self._ask(line, question, key)
                except StoreUnavailable:
                    if line.hung or not line.broken or self._closed:
                        raise
            return await self._ask(await self._new(), question, key)
        finally:
            self._room.release()

    async def _wait(self) -> None:
        """For those that came before, which may be waiting for an engine that does not answer."""
        try:
            await asyncio.wait_for(self._room.acquire(), limits.STATEMENT_SECONDS)
        except TimeoutError:
            raise StoreUnavailable("PostgreSQL is too busy: try again") from None

    async def _ask(self, line: _Line, question: Question, key: bytes) -> Answer:
        if self._watch is None:
            self._look_again()
        try:
            answer = await line.ask(question, key)
        except psycopg.Error as error:
            self._drop(line)
            raise translated(error) from error
        except BaseException:
            self._drop(line)
            raise
        if self._closed or line.old:
            self._drop(line)
        else:
            self._idle.append(line)
        return answer

    def _look_again(self) -> None:
        """One timer for all, and none for each."""
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(limits.STATEMENT_SECONDS / 4, self._hang_up_on_the_slow, loop)

    def _hang_up_on_the_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = None
        asking = [line for line in self._all if line.since is not None]
        for line in asking:
            if line.since is not None and loop.time() - line.since > limits.STATEMENT_SECONDS:
                self._away_until = loop.time() + limits.AWAY_SECONDS
                line.hang_up()
        if asking:
            self._look_again()

    async def _new(self) -> _Line:
        try:
            line = await _Line.open(self._address, self._questions)
        except psycopg.Error as error:
            self._away_until = asyncio.get_running_loop().time() + limits.REFUSED_SECONDS
            raise translated(error) from error
        self._all.add(line)
        return line

    def _drop(self, line: _Line) -> None:
        self._all.discard(line)
        line.close()

    def renew(self) -> None:
        """Another host is followed, or another life of the engine: ask there from now on."""
        while self._idle:
            self._drop(self._idle.pop())
        for line in self._all:
            line.old = True

    def close(self) -> None:
        self._closed = True
        self.renew()

    def abandon(self) -> None:
        """In a forked child: not used any more."""
        for line in self._all:
            line.abandon()


class _Instant(Loader):
    """`timestamptz`, as microseconds since 1970."""

    format = pq.Format.BINARY

    def load(self, data: Any) -> int:
        since_2000: int = struct.unpack("!q", data)[0]
        return since_2000 + 946_684_800_000_000


class _Line:
    """One connection, and at most one question that waits for its answer."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], pooled: bool, born: str, began: bytes | None) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pooled = pooled
        self._born = born
        self._began = began
        self._table: int | None = None
        self._life = ""
        self._transformer = Transformer(connection)
        self._transformer.adapters.register_loader("timestamptz", _Instant)
        self._loading: Question | None = None
        self._result: pq.abc.PGresult | None = None
        self._asked: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.hung = False
        """It was given up, for it did not answer."""
        self.old = False
        """Not to be asked again, once it has answered."""
        self.since: float | None = None
        """When the question was asked that is not answered yet, by the loop's clock."""
        self._pgconn.nonblocking = 1
        self._descriptor: int | None = connection.fileno()
        self._loop.add_reader(self._descriptor, self._readable)

    @classmethod
    async def open(cls, address: Address, questions: tuple[Question, ...]) -> _Line:
        """Raises psycopg.Error."""
        connection = await psycopg.AsyncConnection.connect(address.main, autocommit=True, prepare_threshold=None)
        try:
            if address.pooled:
                return cls(connection, True, "", None)
            # One plan for all tokens, and none that is compiled first: that takes longer than it runs.
            await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off; SET bytea_output = hex")
            for question in questions:
                prepare = b"PREPARE %s (%s) AS %s" % (question.name, question.types.encode(), question.direct)
                await connection.execute(prepare)
            cursor = connection.cursor(binary=True)
            await cursor.execute(f"SELECT {BORN}, pg_postmaster_start_time()".encode())
            result = cursor.pgresult
            born = result.get_value(0, 0) if result is not None else None
            if result is None or not born:
                raise psycopg.OperationalError("it is a standby: name the primary")
            return cls(connection, False, born.decode(), result.get_value(0, 1))
        except BaseException:
            await connection.close()
            raise

    @property
    def broken(self) -> bool:
        return self._connection.closed

    async def ask(self, question: Question, key: bytes) -> Answer:
        """Raises psycopg.Error; whatever it raises, the connection cannot be used any more."""
        self._result = None
        self.since = self._loop.time()
        if self._pooled:
            self._pgconn.send_query_params(question.pooled, [key], None, [pq.Format.BINARY], pq.Format.BINARY)
        else:
            self._pgconn.send_query_prepared(
                question.name, [key, self._began], [pq.Format.BINARY, pq.Format.BINARY], pq.Format.BINARY
            )
        if self._pgconn.flush() == 1:
            raise psycopg.OperationalError("it takes no more questions")
        self._asked = self._loop.create_future()
        await self._asked
        self.since = None
        return self._answer(question)

    def _readable(self) -> None:
        try:
            self._pgconn.consume_input()
            while not self._pgconn.is_busy():
                result = self._pgconn.get_result()
                if result is not None:
                    self._result = result
                    continue
                if self._asked is not None and not self._asked.done():
                    self._asked.set_result(None)
                return
        except psycopg.Error as error:
            self._deaf()
            if self._asked is not None and not self._asked.done():
                self._asked.set_exception(error)

    def _answer(self, question: Question) -> Answer:
        result, self._result = self._result, None
        if result is None or result.status != pq.ExecStatus.TUPLES_OK or result.ntuples != 1:
            raise psycopg.OperationalError("no answer" if result is None else result.get_error_message())
        # The same statement has the same columns, and how each is loaded is looked up once.
        self._transformer.set_pgresult(result, set_loaders=question is not self._loading)
        self._loading = question
        row = self._transformer.load_row(0, tuple)
        assert row is not None  # noqa: S101 - there is one
        told, number, head = row[-3:]
        return Answer(row, told if self._pooled else self._living(told), Mark(number, head))

    def _living(self, table: int | None) -> str:
        if table != self._table:
            self._table, self._life = table, "" if table is None else f"{self._born}/{table}"
        return self._life

    def hang_up(self) -> None:
        self.hung = True
        hang_up(self._connection)

    def close(self) -> None:
        self._deaf()
        self._connection.pgconn.finish()

    def _deaf(self) -> None:
        # libpq closes what is broken by itself: its number may be another connection's in the next turn.
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        abandon(self._connection)

"""What a check reads, in one statement: the token, its session, all above it, and which engine answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from sessile.errors import StoreUnavailable
from sessile.stores import limits
from sessile.stores.postgres.address import Address
from sessile.stores.postgres.engine import LIFE, NOW, abandon, hang_up, last, translated
from sessile.stores.sql.rows import PRINCIPAL_COLUMNS, SESSION_COLUMNS
from sessile.stores.sql.snapshots import P, S

ENGINE = (
    len(("state", "since", "seq", "salt", "mark", "epochs", "rules")) + len(SESSION_COLUMNS) + len(PRINCIPAL_COLUMNS)
)
"""Where the engine's columns begin: its life, its clock, the head of its journal."""
RULES = 6
"""Where the rules of the policy are, followed by the session and its principal."""


def check(schema: str) -> bytes:
    """The statement. Its first row is always there; with an unknown token its session is NULL."""
    beside = (
        f"LEFT JOIN {schema}.principal p ON p.uid = s.uid"
        f" LEFT JOIN {schema}.policy y ON y.name = coalesce(p.policy, 'default')"
    )
    return f"""
SELECT t.state, t.since, s.seq, s.salt, j.n, e.epochs, y.rules, {S}, {P}, {LIFE}, {NOW}, j.head
FROM {last(schema)} JOIN {schema}.everyone e ON e.one = 1
    LEFT JOIN ({schema}.token t JOIN {schema}.session s ON s.seq = t.session) ON t.digest = %(digest)s {beside}
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, y.rules, {S}, {P}, NULL, NULL, NULL
FROM {schema}.token t JOIN {schema}.session c ON c.seq = t.session AND c.lineage <> '[]'
    CROSS JOIN LATERAL json_array_elements(c.lineage::json) link
    JOIN {schema}.session s ON s.id = link ->> 'session' {beside}
WHERE t.digest = %(digest)s
""".encode()  # noqa: S608 - names of our own


def data(schema: str) -> bytes:
    """The application's data of a session, as `check` says which engine answered."""
    return f"""
SELECT d.version, d.data, {LIFE}, j.n, j.head FROM {last(schema)}
    LEFT JOIN ({schema}.session s JOIN {schema}.session_data d ON d.session = s.seq) ON s.id = %(id)s
""".encode()  # noqa: S608


class Readers:
    """Connections of the loop, for statements that see one instant by themselves. Each is prepared once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[psycopg.AsyncCursor[Any]] = deque()
        self._all: set[psycopg.AsyncCursor[Any]] = set()
        self._room = asyncio.Semaphore(limits.CHECKS)
        self._closed = False

    async def fetch(self, sql: bytes, values: dict[str, Any]) -> Sequence[tuple[Any, ...]]:
        """All rows. Raises StoreUnavailable."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        async with self._room:
            while self._idle:
                # It may have broken while nobody used it: then another one is asked.
                cursor = self._idle.pop()
                try:
                    return await self._ask(cursor, sql, values)
                except StoreUnavailable:
                    if not cursor.connection.closed or self._closed:
                        raise
            return await self._ask(await self._new(), sql, values)

    async def _ask(self, cursor: psycopg.AsyncCursor[Any], sql: bytes, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        watch = asyncio.get_running_loop().call_later(limits.STATEMENT_SECONDS, hang_up, cursor.connection)
        try:
            await cursor.execute(sql, values, prepare=not self._address.pooled, binary=True)
            rows = await cursor.fetchall()
        except psycopg.Error as error:
            raise translated(error) from error
        else:
            return rows
        finally:
            watch.cancel()
            idle = cursor.connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
            if self._closed or not idle:
                await self._close(cursor)
            else:
                self._idle.append(cursor)

    async def _new(self) -> psycopg.AsyncCursor[Any]:
        try:
            connection = await psycopg.AsyncConnection.connect(
                self._address.main, autocommit=True, prepare_threshold=None if self._address.pooled else 3,
                row_factory=tuple_row,
            )  # fmt: skip
            if not self._address.pooled:
                # One plan for all tokens, and none that is compiled first: that takes longer than it runs.
                await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")
        except psycopg.Error as error:
            raise translated(error) from error
        cursor = connection.cursor(binary=True)
        self._all.add(cursor)
        return cursor

    async def _close(self, cursor: psycopg.AsyncCursor[Any]) -> None:
        self._all.discard(cursor)
        await cursor.connection.close()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._close(self._idle.pop())

    def abandon(self) -> None:
        """In a forked child: not used any more."""
        for cursor in self._all:
            abandon(cursor.connection)

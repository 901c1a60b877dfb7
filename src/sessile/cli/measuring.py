"""How `sessile bench` measures: floors to compare with, rounds in turn, and what a wait is worth."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import secrets
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from sessile.authority import Authority
from sessile.stores import REDIS

Work = Callable[[int], Awaitable[object]]
"""Do it so many times."""

ROUND_SECONDS = 0.02
_LEAST_ROUNDS = 3
_BREATH_SECONDS = 0.002
_CLAIMS = 60
"""Seconds for which the token to verify is good beyond the longest run."""


class Floor(msgspec.Struct, frozen=True):
    """What is compared with."""

    what: str
    work: Work


class Cost(msgspec.Struct, frozen=True):
    """Of one piece of work, in microseconds by the wall."""

    best: float
    median: float


class Spread(msgspec.Struct, frozen=True):
    """Of waits, in milliseconds."""

    n: int
    p50: float
    p99: float
    most: float


def spread(seconds: Sequence[float]) -> Spread:
    """Of at least one. The nearest rank: of few, p99 is the longest."""
    ordered = sorted(seconds)
    rank = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 for share in (0.5, 0.99)]
    return Spread(len(ordered), rank[0], rank[1], ordered[-1] * 1000)


async def in_turn(works: Mapping[str, Work], seconds: float) -> dict[str, Cost]:
    """Each once in every round, for `seconds` in all and at least three rounds: what else the machine does, it does to
    all of them."""
    until = time.perf_counter() + seconds
    times = {name: await _calibrated(work) for name, work in works.items()}
    took: dict[str, list[float]] = {name: [] for name in works}
    for rounds in count(1):
        for name, work in works.items():
            took[name].append(await _timed(work, times[name]) / times[name] * 1e6)
        if rounds >= _LEAST_ROUNDS and time.perf_counter() >= until:
            break
    return {name: Cost(min(each), statistics.median(each)) for name, each in took.items()}


async def _calibrated(work: Work) -> int:
    await work(2)  # what is opened at the first use is open by then
    times = 1
    while (took := await _timed(work, times)) < ROUND_SECONDS / 4:
        times *= 2
    return max(1, round(times * ROUND_SECONDS / took))


async def _timed(work: Work, times: int) -> float:
    # Cached checks never wait: between them what keeps the near cache trusted gets its turn, as it does in a server.
    await asyncio.sleep(_BREATH_SECONDS)
    before = time.perf_counter()
    await work(times)
    return time.perf_counter() - before


# -- floors -------------------------------------------------------------------------------------------------------


def verification() -> Floor:
    """A token that carries its claims, HS256 as RFC 7515 has it, verified with the standard library alone: the least
    that a check without a store can cost in Python."""
    key = secrets.token_bytes(32)
    now = int(time.time())
    claims = {"sub": "bench", "sid": secrets.token_hex(16), "iat": now, "exp": now + 3600 + _CLAIMS, "scope": "*"}
    signed = b".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    token = signed + b"." + _base64(hmac.digest(key, signed, "sha256"))

    async def verify(times: int) -> None:
        for _ in range(times):
            said, _, signature = token.rpartition(b".")
            header, _, payload = said.partition(b".")
            if json.loads(_bytes(header))["alg"] != "HS256":
                raise ValueError("another algorithm")
            if not hmac.compare_digest(_bytes(signature), hmac.digest(key, said, "sha256")):
                raise ValueError("forged")
            if json.loads(_bytes(payload))["exp"] <= time.time():
                raise ValueError("expired")

    return Floor("HMAC-SHA256 token, decoded and verified", verify)


def _base64(text: bytes) -> bytes:
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def _bytes(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


@contextlib.asynccontextmanager
async def round_trip(url: str, folder: Path, authority: Authority, session_id: str) -> AsyncIterator[Floor]:
    """One bare round trip of the store's driver: one row by its key, by the driver's plain call. On an engine it is the
    row of that session, which is there."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        with contextlib.closing(_point_reads(folder)) as db:
            yield Floor("sqlite3, one row by its key", _reading(db))
    elif scheme in ("postgresql", "postgres"):
        async with _postgres(url, session_id) as floor:
            yield floor
    elif scheme in REDIS:
        async with _redis(url, session_id) as floor:
            yield floor
    else:
        # Nothing is known of its driver: the store is asked for what is not there.
        async def ask(times: int) -> None:
            for _ in range(times):
                await authority.store.read(secrets.token_bytes(32))

        yield Floor("the store, asked for an unknown token", ask)


_ROWS = 10_000


def _point_reads(folder: Path) -> sqlite3.Connection:
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("CREATE TABLE IF NOT EXISTS row (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    db.execute("BEGIN")
    db.executemany("INSERT OR IGNORE INTO row VALUES (?, zeroblob(300))", ((n,) for n in range(_ROWS)))
    db.execute("COMMIT")
    return db


def _reading(db: sqlite3.Connection) -> Work:
    async def read(times: int) -> None:
        for n in range(times):
            db.execute("SELECT body FROM row WHERE id = ?", (n * 7919 % _ROWS,)).fetchall()

    return read


@contextlib.asynccontextmanager
async def _postgres(url: str, session_id: str) -> AsyncIterator[Floor]:
    import psycopg
    from psycopg import sql

    from sessile.stores.postgres.address import parse

    address = parse(url)
    connection: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(
        address.main, autocommit=True, prepare_threshold=None if address.pooled else 0
    )
    row = (
        sql.SQL("SELECT epoch FROM {}.session WHERE id = %s")
        .format(sql.Identifier(address.schema))
        .as_bytes(connection)
    )
    async with connection:

        async def ask(times: int) -> None:
            for _ in range(times):
                cursor = await connection.execute(row, (session_id,), binary=True)
                await cursor.fetchone()

        yield Floor("psycopg, one row by its key", ask)


@contextlib.asynccontextmanager
async def _redis(url: str, session_id: str) -> AsyncIterator[Floor]:
    from sessile.stores.redis.layout import tag
    from sessile.stores.redis.servers import Servers

    # The store's own connection is its driver.
    servers = Servers(url)
    partition = session_id[4]
    places = await servers.places()
    wire = await servers.connect(next(address for address, held in places.items() if partition in held))
    try:

        async def ask(times: int) -> None:
            for _ in range(times):
                await wire.call("GET", f"{tag(partition)}{session_id}")

        yield Floor("GET of a session's row", ask)
    finally:
        wire.close()

"""The same on engines that other machines use too, and what revoking costs where there are very many sessions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.checks import checks, sessions, uncached
from bench.rounds import WALL, Figure, measure
from sessile import Authority, Issued, Policy
from sessile.cli.measuring import round_trip
from tests.engines import Postgres, new_postgres
from tests.engines_redis import Server as RedisServer
from tests.engines_redis import redis_binary, valkey_binary
from tests.engines_redis import server as redis_server

FEW = 10
HOT = 100
"""Sessions that take turns."""
IDENTIFIER = 26
"""Characters of a session's id after `ses_` and its partition."""


@dataclass
class Engine:
    name: str
    url: str
    server: Postgres | RedisServer | None = None
    directory: str | None = None


@dataclass
class Waits:
    """What `sessile bench --json` said of an engine."""

    engine: str
    report: dict[str, Any]


@dataclass
class Crowd:
    """Revoking one principal among very many sessions."""

    engine: str
    all: int
    many: int
    few_seconds: list[float] = field(default_factory=list)
    many_seconds: list[float] = field(default_factory=list)
    bytes_each: float = 0.0

    @property
    def ratio(self) -> float:
        return statistics.median(self.many_seconds) / statistics.median(self.few_seconds)


@contextlib.contextmanager
def engines(folder: Path) -> Iterator[tuple[list[Engine], list[str]]]:
    """Those that this machine has, started; and why others are missing."""
    found: list[Engine] = []
    missing: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(new_postgres())
        except pytest.skip.Exception as skipped:
            missing.append(f"PostgreSQL: {skipped.msg}")
        else:
            server.database("bench")
            found.append(Engine("PostgreSQL", server.url("bench"), server))
        for name, binary in (("Valkey", valkey_binary), ("Redis", redis_binary)):
            try:
                running = stack.enter_context(redis_server(binary(), folder / name.lower()))
            except pytest.skip.Exception as skipped:
                missing.append(f"{name}: {skipped.msg}")
            else:
                found.append(Engine(name, running.url, running, f"sqlite:///{folder / name.lower() / 'accounts.db'}"))
        yield found, missing


# -- one check ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _opened(url: str, capacity: int = 10_000, directory: str | None = None) -> AsyncIterator[Authority]:
    # Nobody is idle while the machine is busy.
    async with Authority(url, directory=directory, policy=Policy.aal1(), capacity=capacity) as authority:
        yield authority


async def usable(found: Sequence[Engine], missing: list[str]) -> list[Engine]:
    """Those of them that open; of the others it is said why not."""
    opened = []
    for engine in found:
        try:
            async with _opened(engine.url, directory=engine.directory):
                opened.append(engine)
        except Exception as error:  # whatever it is, the others are measured
            missing.append(f"{engine.name}: {error!r}")
    return opened


async def measure_cached(found: Sequence[Engine], rounds: int) -> list[Figure]:
    """The memory store's first. Processor time of this thread."""
    figures = []
    async with contextlib.AsyncExitStack() as stack:
        for engine in (Engine("memory", "memory:"), *found):
            authority = await stack.enter_async_context(_opened(engine.url, directory=engine.directory))
            tokens = await sessions(authority, 0, HOT)
            for token in tokens * 2:
                if not await authority.check(token):
                    raise RuntimeError("denied")
            figures.append(checks(authority, tokens, f"await check, {engine.name}, cached"))
        await measure(figures, rounds)
    return figures


async def measure_uncached(engine: Engine, folder: Path, rounds: int) -> list[Figure]:
    """The bare round trip first. By the wall."""
    with on_a_core_each(engine):
        async with (
            _opened(engine.url, directory=engine.directory) as authority,
            _opened(engine.url, directory=engine.directory) as cold,
        ):
            looked_up = (await authority.begin("person")).active.session.id
            async with round_trip(engine.url, folder, authority, looked_up) as bare:
                figures = [Figure(bare.what, bare.work)]
                for depth in (0, 3):
                    tokens = await sessions(authority, depth, HOT)
                    figures.append(uncached(cold, tokens, f"await check, {engine.name}, depth {depth}, not cached"))
                await measure(figures, rounds, clock=WALL, seconds=0.05)
    return figures


def _cores() -> list[int]:
    """Those that this process may be told to use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def over_loopback() -> str:
    """How `measure_uncached` measures, in words."""
    cores = (
        "this process and the engine on a core each"
        if len(_cores()) > 1
        else "this process and the engine share a core"
    )
    return f"By the wall, over loopback; {cores}."


@contextlib.contextmanager
def on_a_core_each(engine: Engine) -> Iterator[None]:
    """This process on one core and the engine on another, where there are two: else the system moves them about, and
    a round trip takes what a core takes to wake up, or does not."""
    cores = _cores()
    if engine.server is None or len(cores) < 2:
        yield
        return
    try:
        _pin(os.getpid(), cores[:1])
        _pin(engine.server.pid, cores[1:2])
        yield
    finally:
        _pin(os.getpid(), cores)
        _pin(engine.server.pid, cores)


def _pin(pid: int, cores: Sequence[int]) -> None:
    """All its threads. What PostgreSQL starts from then on for a connection goes where it is."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


async def near_cache_bytes() -> float:
    """What one entry costs, with its session and its index."""
    async with _opened("memory:") as authority, _opened("memory:") as other:
        tokens = await sessions(authority, 0)
        for token in await sessions(other, 0):  # what is made once is not counted
            await other.check(token)
        tracemalloc.start()
        for token in tokens:
            await authority.check(token)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size / len(tokens)


# -- waits --------------------------------------------------------------------------------------------------------


def measure_waits(engine: Engine, seconds: float) -> Waits:
    """By the command that users run on their own engines."""
    command = [sys.executable, "-c", "import sys; from sessile.cli import main; sys.exit(main(sys.argv[1:]))"]
    where = ["--database", engine.directory or engine.url, *(["--sessions", engine.url] if engine.directory else ())]
    done = subprocess.run(
        [*command, "bench", *where, "--yes", "--json", "--seconds", str(seconds), "--processes", "4"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"sessile bench on {engine.name}: {done.stderr}")
    return Waits(engine.name, json.loads(done.stdout))


# -- very many sessions -------------------------------------------------------------------------------------------


async def measure_crowd(
    name: str, url: str, every: int, many: int, rounds: int, size: Any, load: Any, run: Callable[[str], object]
) -> Crowd:
    """Load `every` sessions by SQL, `many` of them of one principal and ten of another; revoke both in turn, alive each
    time: they get their epoch back behind the store's back."""
    alive = "UPDATE principal SET epoch = (SELECT s.epoch FROM session s WHERE s.uid = principal.uid LIMIT 1)"
    crowd = Crowd(name, every, many)
    async with _opened(url) as authority:
        seeds = {who: await authority.begin(who, method="password") for who in ("few", "many", "crowd")}
        before = size()
        ids = {who: issued.active.session.id for who, issued in seeds.items()}
        await asyncio.to_thread(load, ids["many"], 0, many - 1, False)
        await asyncio.to_thread(load, ids["few"], many, FEW - 1, False)
        await asyncio.to_thread(load, ids["crowd"], many + FEW, every - many - FEW - 1, True)
        crowd.bytes_each = (size() - before) / every
        for _ in range(rounds):
            await asyncio.to_thread(run, alive)
            for who, took in (("few", crowd.few_seconds), ("many", crowd.many_seconds)):
                began = time.perf_counter()
                receipt = await authority.revoke(principal=who, cause="bench", wait=False)
                took.append(time.perf_counter() - began)
                if not receipt.sessions:
                    raise RuntimeError("nothing was alive")
        for who in ("few", "many"):
            if await authority.check(seeds[who].token):
                raise RuntimeError("accepted after its principal was revoked")
        if not await authority.check(seeds["crowd"].token):
            raise RuntimeError("denied")
    return crowd


async def sqlite_crowd(folder: Path, every: int, many: int, rounds: int) -> Crowd:
    path = folder / "crowd.db"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, timeout=30)

    def size() -> int:
        with contextlib.closing(connect()) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return path.stat().st_size

    def load(seed: str, first: int, rows: int, strangers: bool) -> None:
        with contextlib.closing(connect()) as db:
            columns = [row[1] for row in db.execute("PRAGMA table_info(session)") if row[1] != "seq"]
            changed = _changed(f"printf('%0{IDENTIFIER}d', n.i)", strangers)
            db.execute("PRAGMA cache_size = -200000")
            db.execute("BEGIN IMMEDIATE")
            (last,) = db.execute("SELECT max(seq) FROM session").fetchone()
            db.execute(
                "WITH RECURSIVE n (i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i < ?)"  # noqa: S608 - columns of our own
                f" INSERT INTO session ({', '.join(columns)})"
                f" SELECT {', '.join(changed.get(name, 's.' + name) for name in columns)}"
                " FROM n CROSS JOIN session s WHERE s.id = ?",
                (first, first + rows - 1, seed),
            )
            db.execute(
                "INSERT INTO token (digest, session, state, since)"
                " SELECT randomblob(32), seq, 'current', created FROM session WHERE seq > ?",
                (last,),
            )
            db.execute("COMMIT")

    def run(sql: str) -> None:
        with contextlib.closing(connect()) as db:
            db.execute(sql)

    return await measure_crowd("SQLite", f"sqlite:///{path}", every, many, rounds, size, load, run)


async def postgres_crowd(server: Postgres, every: int, many: int, rounds: int) -> Crowd:
    server.database("crowd")
    url = server.url("crowd")

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(url, autocommit=True, options="-c search_path=sessile")

    def size() -> int:
        with connect() as db:
            rows = db.execute(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c"
                " WHERE c.relkind = 'r' AND c.relnamespace = 'sessile'::regnamespace"
                " AND c.relname IN ('session', 'token')"
            ).fetchall()
            return int(rows[0][0])

    def load(seed: str, first: int, rows: int, strangers: bool) -> None:
        with connect() as db, db.transaction():
            columns = [
                row[0]
                for row in db.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = 'session'::regclass AND attnum > 0"
                    " AND NOT attisdropped AND attname <> 'seq'"
                ).fetchall()
            ]
            changed = _changed(f"lpad(n.i::text, {IDENTIFIER}, '0')", strangers)
            last = db.execute("SELECT max(seq) FROM session").fetchall()[0][0]
            db.execute(
                (
                    f"INSERT INTO session ({', '.join(columns)})"  # noqa: S608 - columns of our own
                    f" SELECT {', '.join(changed.get(name, 's.' + name) for name in columns)}"
                    " FROM generate_series(%s::bigint, %s::bigint) n (i) CROSS JOIN session s WHERE s.id = %s"
                ).encode(),
                (first, first + rows - 1, seed),
            )
            db.execute(
                "INSERT INTO token (digest, session, state, since)"
                " SELECT sha256(convert_to(id, 'UTF8')), seq, 'current', created FROM session WHERE seq > %s",
                (last,),
            )
        with connect() as db:
            db.execute("VACUUM ANALYZE session")
            db.execute("VACUUM ANALYZE token")

    def run(sql: str) -> None:
        with connect() as db:
            db.execute(sql.encode())

    return await measure_crowd("PostgreSQL", url, every, many, rounds, size, load, run)


_COPIES = """
local tag, id, uid, first, count, strangers = unpack(ARGV)
local row, ttl = redis.call('GET', tag .. id), redis.call('PTTL', tag .. id)
local principal = redis.call('GET', tag .. uid)
local all = tonumber(redis.call('ZSCORE', tag .. 'all', id))
local keep = tonumber(redis.call('ZSCORE', tag .. 'keep:browser', id))
for i = tonumber(first), first + count - 1 do
  local name = string.sub(id, 1, 5) .. string.format('%026d', i)
  local whose, copy = uid, string.gsub(row, id, name)
  if strangers == '1' then
    whose = string.sub(uid, 1, 4) .. string.format('%026d', math.floor(i / 11))
    copy = string.gsub(copy, uid, whose)
    if i % 11 == 0 then redis.call('SET', tag .. whose, (string.gsub(principal, uid, whose))) end
  end
  redis.call('SET', tag .. name, copy, 'PX', ttl)
  redis.call('SET', tag .. 't' .. string.format('%032d', i), name, 'PX', ttl)
  redis.call('ZADD', tag .. 'of:' .. whose, all + i, name)
  redis.call('ZADD', tag .. 'all', all + i, name)
  redis.call('ZADD', tag .. 'keep:browser', keep + i, name)
end
"""
"""Copies of a session, with all its keys. In one partition, which is harsher than in 32."""
_AT_ONCE = 2_000


async def redis_crowd(engine: Engine, server: RedisServer, every: int, many: int, rounds: int) -> Crowd:
    """As `measure_crowd`, in a database of its own: loaded by a script of the engine's."""
    crowd = Crowd(engine.name, every, many)
    url, directory = f"{engine.url}/1", (engine.directory or "").replace("accounts.db", "crowd.db")

    def size() -> int:
        return int(next(line for line in server.ask("INFO", "memory").split() if line.startswith("used_memory:"))[12:])

    def load(seed: Issued, first: int, rows: int, strangers: bool) -> None:
        session = seed.active.session
        tag = f"{{s:{session.partition}}}"
        for start in range(first, first + rows, _AT_ONCE):
            count = min(_AT_ONCE, first + rows - start)
            said = server.ask(
                "EVAL", _COPIES, "0", tag, session.id, session.uid or "", str(start), str(count),
                "1" if strangers else "0", database=1,
            )  # fmt: skip
            if said.startswith("-"):
                raise RuntimeError(said)

    async with _opened(url, directory=directory) as authority:
        seeds = {who: await authority.begin(who, method="password") for who in ("few", "many", "crowd")}
        before = size()
        await asyncio.to_thread(load, seeds["many"], 0, many - 1, False)
        await asyncio.to_thread(load, seeds["few"], many, FEW - 1, False)
        await asyncio.to_thread(load, seeds["crowd"], many + FEW, every - many - FEW - 1, True)
        crowd.bytes_each = (size() - before) / every
        alive = {who: _principal(server, issued) for who, issued in seeds.items()}
        for _ in range(rounds):
            for who, took in (("few", crowd.few_seconds), ("many", crowd.many_seconds)):
                key, row = alive[who]
                server.ask("SET", key, row, database=1)
                began = time.perf_counter()
                receipt = await authority.revoke(principal=who, cause="bench", wait=False)
                took.append(time.perf_counter() - began)
                if not receipt.sessions:
                    raise RuntimeError("nothing was alive")
        for who in ("few", "many"):
            if await authority.check(seeds[who].token):
                raise RuntimeError("accepted after its principal was revoked")
        if not await authority.check(seeds["crowd"].token):
            raise RuntimeError("denied")
    server.ask("FLUSHDB", "ASYNC", database=1)
    return crowd


def _principal(server: RedisServer, issued: Issued) -> tuple[str, bytes]:
    """Key and row of the principal in the engine, with the epoch that its sessions have."""
    session = issued.active.session
    key = f"{{s:{session.partition}}}{session.uid}"
    said = server.ask("GET", key, database=1, decode="latin-1").encode("latin-1")
    return key, said.partition(b"\r\n")[2][:-2]


def _changed(number: str, strangers: bool) -> dict[str, str]:
    """What a copy of a session has of its own. Strangers are many principals, with eleven sessions each."""
    changed = {"id": f"'ses_0' || {number}", "created": "s.created + n.i"}
    if strangers:
        changed["uid"] = f"'prn_' || {number.replace('n.i', '(n.i / 11)')}"
    return changed

"""One check, against what applications do instead: a JWT, a signed cookie, a row read, a look-up."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import itsdangerous
import jwt

from bench.rounds import Figure, measure, work
from sessile import Active, Authority, Issued, Policy
from sessile.kernel.budget import Budget

ROWS = 100_000
HOT = 500
"""How many sessions take turns: neither one that every cache holds nor more than a worker sees at once."""

JWT = "PyJWT HS256, decode and verify"
ITSDANGEROUS = "itsdangerous, timed loads"
POINT_READ = "sqlite3, bare point read"
LOOK_UP = "dict, bare look-up"


def claims(number: int) -> dict[str, object]:
    """What a check answers, as claims."""
    now = int(time.time())
    return {
        "sub": f"person{number}", "sid": f"ses_{number:027d}", "iat": now, "exp": now + 86_400, "auth_time": now,
        "acr": "aal1", "amr": ["pwd"], "scope": "*",
    }  # fmt: skip


def peers(folder: Path) -> list[Figure]:
    """What is compared with, each on as many tokens in turn."""
    key = secrets.token_bytes(32)
    jwts = [jwt.encode(claims(n), key, algorithm="HS256") for n in range(HOT)]
    serializer = itsdangerous.URLSafeTimedSerializer(key)
    signed = [serializer.dumps(claims(n)) for n in range(HOT)]

    db = sqlite3.connect(folder / "rows.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("CREATE TABLE session (digest BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID")
    rows = [(secrets.token_bytes(32), secrets.token_bytes(300)) for _ in range(ROWS)]
    db.execute("BEGIN")
    db.executemany("INSERT INTO session VALUES (?, ?)", rows)
    db.execute("COMMIT")
    digests = [digest for digest, _ in rows[:: ROWS // HOT]]
    table = {secrets.token_urlsafe(32): n for n in range(ROWS)}
    names = list(table)[:: ROWS // HOT]

    def decode(times: int) -> None:
        for token in islice(cycle(jwts), times):
            jwt.decode(token, key, algorithms=["HS256"])

    def loads(times: int) -> None:
        for token in islice(cycle(signed), times):
            serializer.loads(token, max_age=86_400)

    def read(times: int) -> None:
        for digest in islice(cycle(digests), times):
            db.execute("SELECT body FROM session WHERE digest = ?", (digest,)).fetchall()

    def look_up(times: int) -> None:
        for name in islice(cycle(names), times):
            table[name]

    return [
        Figure(JWT, work(decode)),
        Figure(ITSDANGEROUS, work(loads)),
        Figure(POINT_READ, work(read)),
        Figure(LOOK_UP, work(look_up)),
    ]


async def sessions(authority: Authority, depth: int, count: int = HOT) -> list[str]:
    """Tokens of live sessions so many delegations deep."""
    tokens = []
    for n in range(count):
        issued: Issued = await authority.begin(f"person{n}")
        for level in range(depth):
            issued = await authority.delegate(issued.active, to=f"agent:p{n}-{level}", scopes={"x"})
        tokens.append(str(issued.token))
    return tokens


def peeks(authority: Authority, tokens: Sequence[str], name: str) -> Figure:
    async def run(times: int) -> None:
        peek = authority.peek
        for token in islice(cycle(tokens), times):
            if not peek(token):
                await fill(token)

    async def fill(token: str) -> None:
        # What is cached is good for a minute at most, and a slow machine takes longer than that for all rounds.
        for _ in range(3):
            if not await authority.check(token):
                raise RuntimeError("denied")
            if authority.peek(token):
                return
        raise RuntimeError("not answered from the cache, though it was read just now")

    return Figure(name, run)


def checks(authority: Authority, tokens: Sequence[str], name: str) -> Figure:
    # Round after round it goes on with the next: a cache for one never has it.
    turns = cycle(tokens)

    async def run(times: int) -> None:
        check = authority.check
        for token in islice(turns, times):
            if not await check(token):
                raise RuntimeError("denied")

    return Figure(name, run)


def uncached(authority: Authority, tokens: Sequence[str], name: str) -> Figure:
    """As after the loss of a connection, or a minute: the near cache has room, and none of the sessions."""
    turns = cycle(enumerate(tokens))
    near = authority._near

    async def run(times: int) -> None:
        check = authority.check
        for place, token in islice(turns, times):
            if not place:
                near.drop(near.mark)
            if not await check(token):
                raise RuntimeError("denied")

    return Figure(name, run)


def touches(tokens: Sequence[Active], name: str) -> Figure:
    """Noting a resource that the session touched before: what is on every request."""

    def run(times: int) -> None:
        for active in islice(cycle(tokens), times):
            active.touch_resource("secret:prod/db", "read")

    return Figure(name, work(run))


async def measure_checks(folder: Path, rounds: int) -> list[Figure]:
    figures = peers(folder)
    opened: list[Authority] = []

    async def opens(url: str, capacity: int = 10_000) -> Authority:
        # Nobody is idle while the machine is busy.
        authority = await Authority(url, policy=Policy.aal1(), capacity=capacity).open()
        opened.append(authority)
        return authority

    for store, url in (("memory", "memory:"), ("SQLite", f"sqlite:///{folder}/sessile.db")):
        authority = await opens(url)
        for depth in (0, 3):
            tokens = await sessions(authority, depth)
            for token in tokens * 2:
                if not await authority.check(token):
                    raise RuntimeError("denied")
            figures.append(peeks(authority, tokens, f"peek, {store}, depth {depth}"))
            figures.append(checks(authority, tokens, f"await check, {store}, depth {depth}"))
            if store == "SQLite":
                cold = await opens(url, capacity=1)
                figures.append(checks(cold, tokens, f"await check, SQLite, depth {depth}, not cached"))
    metered = await opens("memory:")
    tokens = await sessions(metered, 1)
    await asyncio.gather(*(metered.set_budget(f"agent:p{n}-0", Budget(overall=10**12)) for n in range(HOT)))
    actives = [active for token in tokens * 2 if isinstance(active := await metered.check(token), Active)]
    figures.append(peeks(metered, tokens, "peek, memory, depth 1, with a budget"))
    figures.append(touches(actives[:HOT], "touch_resource, of a resource touched before"))
    await measure(figures, rounds)
    for authority in opened:
        await authority.close()
    return figures

"""Beginning and revoking on SQLite: durable before they return, so measured in commits."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path

from bench.rounds import WALL, Figure, measure, work
from sessile import Authority
from sessile.kernel.ids import new_id
from sessile.nhi.walk import EVERY_SECONDS, walk_all

TOGETHER = 64
COMMIT = "sqlite3, one bare durable commit"


async def measure_writes(folder: Path, rounds: int) -> list[Figure]:
    db = sqlite3.connect(folder / "commits.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("PRAGMA synchronous = FULL").fetchall()
    db.execute("CREATE TABLE line (n INTEGER PRIMARY KEY, body BLOB)")

    def commit(times: int) -> None:
        for _ in range(times):
            db.execute("INSERT INTO line (body) VALUES (zeroblob(300))")

    async with Authority(f"sqlite:///{folder}/writes.db") as authority:
        await authority.register("alice")
        numbers = count()

        async def begin_alone(times: int) -> None:
            for _ in range(times):
                await authority.begin(f"p{next(numbers) % 50}")

        async def begin_together(times: int) -> None:
            for _ in range(times):
                await asyncio.gather(*[authority.begin("alice") for _ in range(TOGETHER)])

        # A revocation needs something to revoke: beginning it is measured with it, and taken off again.
        async def begin_and_revoke_alone(times: int) -> None:
            for _ in range(times):
                issued = await authority.begin(f"p{next(numbers) % 50}")
                await authority.revoke(session=issued.active.session.id, cause="logout")

        async def begin_and_revoke_together(times: int) -> None:
            for _ in range(times):
                issued = await asyncio.gather(*[authority.begin("alice") for _ in range(TOGETHER)])
                await asyncio.gather(
                    *[authority.revoke(session=each.active.session.id, cause="logout") for each in issued]
                )

        for number in range(50):
            await authority.register(f"p{number}")
        one = Figure("begin", begin_alone)
        many = Figure(f"begin, {TOGETHER} at once", begin_together)
        both = Figure("begin and revoke", begin_and_revoke_alone)
        all_both = Figure(f"begin and revoke, {TOGETHER} at once", begin_and_revoke_together)
        bare = Figure(COMMIT, work(commit))
        await measure([bare, one, many, both, all_both], rounds, clock=WALL, seconds=0.05)
        revoke = Figure("revoke", one.work, [b - a for a, b in zip(one.seconds, both.seconds, strict=True)])
        revokes = Figure(
            f"revoke, {TOGETHER} at once",
            many.work,
            [(b - a) / TOGETHER for a, b in zip(many.seconds, all_both.seconds, strict=True)],
        )
        many.seconds = [seconds / TOGETHER for seconds in many.seconds]
    db.close()
    return [bare, one, many, revoke, revokes]


@dataclass
class Trees:
    """Revoking sessions that have handed out very much, each with all that hangs on it."""

    below: int
    returned: list[float] = field(default_factory=list)
    """Seconds until `revoke` returned."""
    refused: list[float] = field(default_factory=list)
    """Seconds from its call to the first refusal of the root."""
    told: float = 0.0
    """Seconds until the record has told of all that was over with the last one: without the rest that it takes where
    there are requests, and behind them."""


async def measure_trees(folder: Path, below: int, turns: int) -> Trees:
    """Revoke `turns` sessions, with `below` delegations under each."""
    trees, path = Trees(below), folder / "trees.db"
    async with Authority(f"sqlite:///{path}") as authority:
        await authority.register("alice")
        await authority.register("agent:many", owner="alice")
        for _ in range(turns):
            root = await authority.begin("alice")
            one = await authority.delegate(root.active, to="agent:many", scopes=set(), lifetime=timedelta(minutes=30))
            await asyncio.to_thread(_multiply, path, one.active.session.id, below - 1)
            began = time.perf_counter()
            revoking = asyncio.create_task(authority.revoke(session=root.active.session.id, cause="bench"))
            while await authority.check(root.token, touch=False):  # noqa: ASYNC110 - one request after another
                await asyncio.sleep(0)
            trees.refused.append(time.perf_counter() - began)
            await revoking
            trees.returned.append(time.perf_counter() - began)
            if await authority.check(one.token, touch=False):
                raise RuntimeError("accepted after what it hangs on was revoked")
            if len(trees.returned) < turns:  # each by itself, as they come in life
                await asyncio.to_thread(_forget_walks, path)
                await asyncio.sleep(2 * EVERY_SECONDS)  # until whoever was walking has seen it
        began = time.perf_counter()
        await walk_all(authority.store, pause=0)
        trees.told = time.perf_counter() - began
    return trees


def _forget_walks(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as db:
        db.execute("DELETE FROM walk")


def _multiply(path: Path, session: str, times: int) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(session)") if row[1] not in ("seq", "id")]
        listed = ", ".join(columns)
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            f"INSERT INTO session (id, {listed}) SELECT ?, {listed} FROM session WHERE id = ?",  # noqa: S608 - columns of our own
            [(new_id("ses"), session) for _ in range(times)],
        )
        db.execute("COMMIT")

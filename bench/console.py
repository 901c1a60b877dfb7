"""How long the server takes for each page of the console, with very many principals and sessions on SQLite."""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import time
from pathlib import Path

import httpx

from bench.engines import IDENTIFIER
from sessile import Authority, Policy
from sessile.server import Settings, create_app
from sessile.server.pages.console import CONSOLE
from sessile.testing.client import sign_in_as

EACH = 10
"""Sessions of a principal."""
ORIGIN = "https://localhost"


async def load(path: Path, principals: int) -> None:
    """Fill an empty database: `EACH` live sessions for each principal, and an event for the beginning of each."""
    async with Authority(f"sqlite:///{path}", policy=Policy.aal1()) as authority:
        seed = (await authority.begin("person", method="password")).active.session
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        number = f"printf('%0{IDENTIFIER}d', {{}})"
        one, tenth = number.format("n.i"), number.format(f"n.i / {EACH}")
        db.execute("PRAGMA cache_size = -200000")
        db.execute("BEGIN IMMEDIATE")
        _copy(
            db, "principal", "name", "person", principals,
            uid=f"'prn_' || {one}",
            name="CASE n.i % 10 WHEN 0 THEN 'agent:' WHEN 1 THEN 'service:' ELSE 'person' END || n.i",
            kind="CASE n.i % 10 WHEN 0 THEN 'agent' WHEN 1 THEN 'service' ELSE 'human' END",
            # The next person answers for it.
            owner=f"CASE WHEN n.i % 10 < 2 THEN 'prn_' || {number.format('n.i / 10 * 10 + 2')} END",
        )  # fmt: skip
        _copy(
            db, "session", "id", seed.id, principals * EACH,
            id=f"'ses_0' || {one}", created="s.created + n.i", uid=f"'prn_' || {tenth}",
            # Names of our own.
            principal=f"(SELECT name FROM principal WHERE uid = 'prn_' || {tenth})",  # noqa: S608 - our own
        )  # fmt: skip
        (event,) = db.execute("SELECT max(seq) FROM event").fetchone()
        begun, at = "session.begun", int(time.time() * 1_000_000)
        _copy(
            db, "event", "seq", event, principals * EACH,
            seq="s.seq + 1 + n.i", uid=f"'prn_' || {tenth}", session=f"'ses_0' || {one}",
            # Over a month, up to now; one in a thousand is of another name.
            at=f"{at} - ({principals * EACH} - n.i) * (2592000000000 / {principals * EACH})",
            name=f"CASE n.i % 1000 WHEN 0 THEN 'principal.revoked' ELSE '{begun}' END",
        )  # fmt: skip
        db.execute("COMMIT")


def _copy(db: sqlite3.Connection, table: str, key: str, value: str | int, times: int, **changed: str) -> None:
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "seq" or "seq" in changed]
    db.execute(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"  # noqa: S608 - names of our own
        f" INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT {', '.join(changed.get(name, 's.' + name) for name in columns)}"
        f" FROM n CROSS JOIN {table} s WHERE s.{key} = ?",
        (times - 1, value),
    )


async def measure_console(folder: Path, principals: int, rounds: int) -> dict[str, float]:
    """Milliseconds by page, the median."""
    path = folder / "console.db"
    await load(path, principals)
    app = create_app(Settings(database=f"sqlite:///{path}", key_file=folder / "key"))
    authority: Authority = app.state.server.authority
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        await authority.register("olga", scopes={"*", "operator"})
        await sign_in_as(client, authority, "olga")
        some = (await authority.sessions(principal="person5")).items[0].id
        took = {}
        for page in (
            CONSOLE,
            f"{CONSOLE}?q=son99",
            f"{CONSOLE}?q=nobody-has-this-name",
            f"{CONSOLE}/principals/person5",
            f"{CONSOLE}/principals/person5/revoke",
            f"{CONSOLE}/principals/person5/disable",
            f"{CONSOLE}/principals/person5/delete",
            f"{CONSOLE}/principals/person5/contain",
            f"{CONSOLE}/principals/person2/offboard",
            f"{CONSOLE}/everyone/revoke",
            f"{CONSOLE}/sessions/{some}",
            f"{CONSOLE}/sessions/{some}/revoke",
            f"{CONSOLE}/sessions/{some}/contain",
            f"{CONSOLE}/overview",
            f"{CONSOLE}/audit",
            f"{CONSOLE}/audit?about=endings",
            f"{CONSOLE}/audit?about=threats",
            f"{CONSOLE}/audit?principal=person5&since=day",
            f"{CONSOLE}/audit?about=sign_ins&since=hour",
            f"{CONSOLE}/containments",
            f"{CONSOLE}/inventory",
            f"{CONSOLE}/teams",
            f"{CONSOLE}/leases",
            f"{CONSOLE}/policies",
        ):
            each = []
            for _ in range(rounds):
                began = time.perf_counter()
                answer = await client.get(page, headers={"Accept": "text/html"})
                each.append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200:
                    raise RuntimeError(f"{page}: {answer.status_code}")
            took[page.replace(some, "…")] = statistics.median(each)
    return took

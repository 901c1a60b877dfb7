"""What `verify_events` finds in a file that somebody changed past Sessile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from sessile.clock import SystemClock
from sessile.kernel.event import Event, EventName
from sessile.near import NearCache
from sessile.stores.protocol import Verified
from sessile.stores.sqlite import SQLiteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "sessile.db", clock=SystemClock(), create=True)
    await store.open(NearCache(1))
    yield store
    await store.close()


async def record(store: SQLiteStore, count: int) -> None:
    events = [
        Event(name=EventName.SIGN_IN_FAILED, principal="alice", uid=f"prn_{n}", session=f"ses_{n}")
        for n in range(count)
    ]  # fmt: skip
    await asyncio.gather(*map(store.record, events))


async def verified(store: SQLiteStore) -> Verified:
    found = await store.verify_events(Verified())
    while found.more and found.broken is None:
        found = await store.verify_events(found)
    return found


def change(store: SQLiteStore, script: str) -> None:
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.executescript("DROP TRIGGER event_is_never_changed; DROP TRIGGER event_is_never_deleted;" + script)


@pytest.mark.requirement("ASVS V16.4.2")
@pytest.mark.parametrize(
    ("script", "broken"),
    [
        ("UPDATE event SET body = replace(body, 'alice', 'mallory') WHERE seq = 4", 4),
        ("UPDATE event SET body = replace(body, 'alice', 'mallory') WHERE seq = 1", 1),
        ("UPDATE event SET chain = zeroblob(32) WHERE seq = 2", 2),
        ("UPDATE event SET uid = 'prn_other' WHERE seq = 3", 3),
        ("UPDATE event SET session = NULL WHERE seq = 7", 7),
        ("UPDATE event SET body = x'00' WHERE seq = 4", 4),
        ("DELETE FROM event WHERE seq = 3", 3),
        ("DELETE FROM event WHERE seq < 3", 1),
        ("UPDATE event SET seq = -seq WHERE seq IN (3, 4); UPDATE event SET seq = 7 + seq WHERE seq < 0", 3),
        ("INSERT INTO event (seq, body, chain) SELECT 8, body, chain FROM event WHERE seq = 7", 8),
        ("INSERT INTO event (seq, body, chain) SELECT -1, body, chain FROM event WHERE seq = 7", 1),
    ],
)
async def test_the_first_event_that_does_not_follow_is_named(store: SQLiteStore, script: str, broken: int) -> None:
    await record(store, 7)
    assert (await verified(store)).seq == 7
    change(store, script)
    found = await verified(store)
    assert (found.seq, found.broken) == (broken - 1, broken)


@pytest.mark.requirement("ASVS V16.4.2")
@pytest.mark.parametrize("broken", [999, 1000, 1001, 1002, 1999, 2000, 2100])
async def test_every_page_is_tied_to_the_one_before(store: SQLiteStore, broken: int) -> None:
    await record(store, 2_100)
    assert (await verified(store)).seq == 2_100
    change(store, f"UPDATE event SET body = replace(body, 'alice', 'mallory') WHERE seq = {broken}")  # noqa: S608
    assert (await verified(store)).broken == broken

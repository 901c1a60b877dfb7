"""What `verify_events` finds in a file that somebody changed past Sessile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from sessile.clock import SystemClock
from sessile.kernel.event import SYSTEM, Actor, Event, EventName
from sessile.kernel.principal import Principal, PrincipalKind, Status
from sessile.near import NearCache
from sessile.stores.protocol import Verified
from sessile.stores.sql.rows import principal_values
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
        ("UPDATE event SET body = replace(body, 'erased', 'mallory') WHERE seq = 4", 4),
        ("UPDATE event SET body = replace(body, 'erased', 'mallory') WHERE seq = 1", 1),
        ("UPDATE event SET chain = zeroblob(32) WHERE seq = 2", 2),
        ("UPDATE event SET uid = 'prn_other' WHERE seq = 3", 3),
        ("UPDATE event SET session = NULL WHERE seq = 7", 7),
        ("UPDATE event SET name = 'session.begun' WHERE seq = 4", 4),
        ("UPDATE event SET at = at + 1 WHERE seq = 5", 5),
        ("UPDATE event SET body = x'00' WHERE seq = 4", 4),
        ("DELETE FROM event WHERE seq = 3", 3),
        ("DELETE FROM event WHERE seq < 3", 1),
        ("UPDATE event SET seq = -seq WHERE seq IN (3, 4); UPDATE event SET seq = 7 + seq WHERE seq < 0", 3),
        ("INSERT INTO event (seq, name, at, body, chain) SELECT 8, name, at, body, chain FROM event WHERE seq = 7", 8),
        ("INSERT INTO event (seq, name, at, body, chain) SELECT -1, name, at, body, chain FROM event WHERE seq = 7", 1),
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
    change(store, f"UPDATE event SET body = replace(body, 'erased', 'mallory') WHERE seq = {broken}")  # noqa: S608
    assert (await verified(store)).broken == broken


@pytest.mark.requirement("ASVS V16.4.2")
@pytest.mark.parametrize(
    ("script", "broken"),
    [
        ("UPDATE personal SET said = replace(said, 'alice', 'mallory') WHERE seq = 4", 4),
        ("UPDATE personal SET salt = zeroblob(32) WHERE seq = 5", 5),
        ("UPDATE personal SET whose = 'prn_6' WHERE seq = 5", 5),
        ("DELETE FROM personal WHERE seq = 3", 3),
        ("INSERT INTO personal SELECT seq, 1, whose, salt, said, NULL FROM personal WHERE seq = 2", 2),
        ("UPDATE personal SET said = NULL, salt = NULL WHERE seq = 6", 6),
        # An erasure that the record does not tell of, one that it tells of another, and one that came before.
        ("UPDATE personal SET said = NULL, salt = NULL, erased = 99 WHERE seq = 6", 6),
        ("UPDATE personal SET said = NULL, salt = NULL, erased = 2 WHERE seq = 6", 6),
        ("UPDATE personal SET said = NULL, salt = NULL, erased = 10 WHERE seq = 6", 6),
        ("UPDATE personal SET said = NULL, salt = NULL, erased = 10, whose = '' WHERE seq = 8", 8),
        ('UPDATE personal SET salt = NULL, said = \'{"principal":"bob"}\' WHERE seq = 1', 1),
    ],
)
async def test_what_an_event_says_of_somebody_goes_by_an_erasure_only(
    store: SQLiteStore, script: str, broken: int
) -> None:
    """Review 28: erasure. Event 10 tells of one, of the person that event 1 and 9 are about."""
    await record(store, 7)
    await store.record(Event(name=EventName.SIGN_IN_FAILED, by=Actor(name="bob")))
    zero = Principal(
        uid="prn_0", name="alice", kind=PrincipalKind.HUMAN, created=SystemClock().now(), status=Status.DELETED,
        epoch=b"e",
    )  # fmt: skip
    await store._write(lambda tx: tx.insert("principal", principal_values(zero)))
    await store.record(Event(name=EventName.PRINCIPAL_DELETED, principal="alice", uid="prn_0"))
    await store.erase("prn_0", "asked for", SYSTEM)
    assert await verified(store) == Verified(10, (await verified(store)).chain)
    change(store, script)
    assert (await verified(store)).broken == broken

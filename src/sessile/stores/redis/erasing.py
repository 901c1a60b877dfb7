"""Erasing a person: in the directory, and from the tombstones in the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from sessile.errors import NotFound, StoreUnavailable
from sessile.kernel.event import Actor
from sessile.kernel.ids import partition_of
from sessile.kernel.principal import ERASED, Principal
from sessile.kernel.session import Client
from sessile.stores.protocol import Erased
from sessile.stores.redis import journal
from sessile.stores.redis.applying import keep
from sessile.stores.redis.engine import ATTEMPTS, BUSY, Change, asking, pause
from sessile.stores.redis.journal import Entry, SetPrincipal
from sessile.stores.redis.layout import Stored
from sessile.stores.redis.listing import of
from sessile.stores.redis.reach import Reach
from sessile.stores.sql import erasing
from sessile.stores.sql.transaction import Transaction

_MOST = 1_000_000
_AT_ONCE = 100
# What it did to sessions of others: who ended one stands in its tombstone.
_ACTED = """
SELECT DISTINCT e.session FROM personal p JOIN event e ON e.seq = p.seq WHERE p.whose = ? AND e.session IS NOT NULL
"""


async def erase(reach: Reach, uid: str, cause: str, by: Actor) -> Erased:
    """See `Store.erase`."""
    known = await reach.directory.principal(uid=uid)
    if known is None:
        raise NotFound("no such principal")
    own: list[str] = []
    for partition in journal.partitions_of(known, spread=True):
        own += await of(reach, partition, uid, _MOST)
    named = [one async for some in _read(reach, own) for one in some if one.session.principal != ERASED]
    acted = await reach.directory.look(lambda db: [one for (one,) in db.execute(_ACTED, (uid,)).fetchall()])

    def work(tx: Transaction) -> tuple[Erased, list[Entry]]:
        erased, after = erasing.erase(tx, uid, cause, by, len(named))
        if not erased.events and after == known:
            return erased, []
        ops = {one: SetPrincipal(after) for one in journal.partitions_of(after, spread=True)}
        return erased, journal.append(tx, f"p:{uid}", ops)

    erased, entries = await reach.directory.change(work)
    await reach.apply(entries)
    async for some in _read(reach, [*own, *acted]):
        await _blank(reach, known, [one.session.id for one in some])
    return erased


async def _read(reach: Reach, ids: list[str]) -> AsyncIterator[list[Stored]]:
    """Those that are still there, some at a time, all of one partition."""
    for partition in sorted({partition_of(one) for one in ids}):
        here = [one for one in ids if partition_of(one) == partition]
        for start in range(0, len(here), _AT_ONCE):
            some = here[start : start + _AT_ONCE]
            found = await reach.look(partition, asking("s", some))
            yield [stored for one in some if (stored := found.stored(one)) is not None]


async def _blank(reach: Reach, known: Principal, ids: list[str]) -> None:
    for attempt in range(ATTEMPTS if ids else 0):
        await pause(attempt)
        found = await reach.look(partition_of(ids[0]), asking("s", ids))
        change = Change(found)
        change.only_if_unchanged()
        for one in ids:
            stored = found.stored(one)
            if stored is not None and (after := _without(stored, known)) != stored:
                keep(change, after)
                if after.session.uid == known.uid:
                    change.deletions.append(change.key(f"data:{one}"))
        if (await reach.write(change)).done:
            return
    if ids:
        raise StoreUnavailable(BUSY)


def _without(stored: Stored, known: Principal) -> Stored:
    session = stored.session
    if session.uid == known.uid:
        session = msgspec.structs.replace(session, principal=ERASED, client=Client(), label="")
    if session.ended_by == known.name:
        session = msgspec.structs.replace(session, ended_by=ERASED)
    return msgspec.structs.replace(stored, session=session)

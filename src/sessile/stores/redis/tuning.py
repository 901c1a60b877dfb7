"""Changing Δ while nodes run (review 4): two endings that end nothing, journalled like all others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from sessile.kernel.ids import ALPHABET
from sessile.stores.redis import journal
from sessile.stores.redis.journal import Entry, SetDelta
from sessile.stores.redis.reach import Reach
from sessile.stores.sql.transaction import Transaction
from sessile.trust import Delta, change_delta, settle

_LEAST, _MOST = timedelta(milliseconds=20), timedelta(minutes=1)
_DRIFT = 1e-3


async def change(reach: Reach, to: timedelta, elapsed: Callable[[], int]) -> None:
    """Change Δ for all nodes. Returns when it holds everywhere, after the old and the new Δ.

    Raises:
        ValueError: not between 20 ms and 1 minute. StoreUnavailable: repeat it.
    """
    if not _LEAST <= to <= _MOST:
        raise ValueError("Δ is between 20 milliseconds and 1 minute")
    wanted = to // timedelta(microseconds=1) * 1000

    def first(tx: Transaction) -> tuple[Delta, Delta, list[Entry]]:
        tx.lock_record()
        now, then = change_delta(journal.delta(tx.db), wanted)
        return now, then, _write(tx, now)

    def second(tx: Transaction) -> list[Entry]:
        tx.lock_record()
        # Only if nobody else changed it meanwhile.
        return _write(tx, then) if journal.delta(tx.db) == now else []

    now, then, entries = await reach.directory.change(first)
    await reach.apply(entries)
    since = elapsed()
    await asyncio.sleep(max(0.0, (since + settle(now.wait, _DRIFT) - elapsed()) / 1e9))
    await reach.apply(await reach.directory.change(second))


def _write(tx: Transaction, delta: Delta) -> list[Entry]:
    journal.set_delta(tx, delta)
    return journal.append(tx, "all", dict.fromkeys(ALPHABET, SetDelta(delta.trust, delta.wait)))

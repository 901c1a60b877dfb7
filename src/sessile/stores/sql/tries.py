"""Tries, in a transaction: of any number at once, no more than the limit are let through."""

from __future__ import annotations

from collections.abc import Sequence

from sessile.kernel.tries import Exhausted, Limit, Tries, count, kept_until, succeeded
from sessile.stores.sql.rows import datetime_of, instant
from sessile.stores.sql.transaction import Transaction

_SWEPT = 20
"""Rows that say nothing any more, deleted with each try: more than it adds."""


def count_try(tx: Transaction, limits: Sequence[Limit]) -> Exhausted | None:
    """See `Directory.count_try`."""
    counted = []
    for limit in _in_order(limits):
        tries = count(_hold(tx, limit.key), limit, tx.now)
        if isinstance(tries, Exhausted):
            return tries
        counted.append((limit, tries))
    for limit, tries in counted:
        _put(tx, limit, tries)
    tx.change(
        f"DELETE FROM tries WHERE key IN (SELECT key FROM tries WHERE until < ? ORDER BY until LIMIT ?"  # noqa: S608
        f"{tx.skip_locked})",
        instant(tx.now), _SWEPT,
    )  # fmt: skip
    return None


def give_back(tx: Transaction, limits: Sequence[Limit]) -> None:
    """See `Directory.give_back`."""
    for limit in _in_order(limits):
        tries = _hold(tx, limit.key)
        if tries is not None:
            _put(tx, limit, succeeded(tries, limit))


def forget_tries(tx: Transaction, keys: Sequence[bytes]) -> None:
    """See `Directory.forget_tries`."""
    for key in sorted(keys):
        tx.change("DELETE FROM tries WHERE key = ?", key)


def _in_order(limits: Sequence[Limit]) -> Sequence[Limit]:
    # In one order everywhere, so that two transactions never wait for each other.
    return sorted(limits, key=lambda limit: limit.key)


def _hold(tx: Transaction, key: bytes) -> Tries | None:
    """What is counted of a key, and nobody else changes it before the commit."""
    tx.change(
        "INSERT INTO tries (key, until) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET key = excluded.key",
        key, instant(tx.now),
    )  # fmt: skip
    full, in_a_row = tx.rows("SELECT full_at, in_a_row FROM tries WHERE key = ?", key)[0]
    return None if full is None else Tries(datetime_of(full), in_a_row)


def _put(tx: Transaction, limit: Limit, tries: Tries) -> None:
    until = kept_until(tries, limit)
    tx.change(
        "UPDATE tries SET full_at = ?, in_a_row = ?, until = ? WHERE key = ?",
        instant(tries.full), tries.in_a_row, None if until is None else instant(until), limit.key,
    )  # fmt: skip

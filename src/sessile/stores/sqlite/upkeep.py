"""What time leaves behind: tombstones that nobody needs, old journal rows, a long write-ahead log."""

from __future__ import annotations

import os
import sqlite3
from datetime import timedelta
from pathlib import Path

from sessile.stores.sqlite.rows import instant, json_text
from sessile.stores.sqlite.transaction import Transaction

JOURNAL_KEPT = timedelta(days=7)
LONG_LOG = 16 * 1024 * 1024
"""Bytes of the write-ahead log above which it is written back and cut."""
# Its own limit is asked too: nothing that may be alive is ever deleted.
_OVER = "SELECT seq FROM session WHERE keep_until <= ? AND expires <= ? ORDER BY keep_until LIMIT ?"
_JOURNAL_ROWS = 5_000
# Up to the first row that is young enough. The last one stays whatever its age: a reader at the head must find
# where it stands.
_SWEEP_JOURNAL = """
DELETE FROM journal WHERE n < coalesce(
    (SELECT n FROM journal WHERE at >= ? ORDER BY n LIMIT 1), (SELECT max(n) FROM journal)
) AND n < (SELECT min(n) FROM journal) + ?
"""


def sweep(tx: Transaction, limit: int) -> int:
    """See `Store.sweep`. One short transaction."""
    now = instant(tx.now)
    over = [seq for (seq,) in tx.rows(_OVER, now, now, limit)]
    for table, column in (("token", "session"), ("session_data", "session"), ("session", "seq")):
        tx.change(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", json_text(over))  # noqa: S608
    tx.change(_SWEEP_JOURNAL, instant(tx.now - JOURNAL_KEPT), _JOURNAL_ROWS)
    return len(over)


def shorten_log(db: sqlite3.Connection, path: Path) -> None:
    """Cut the write-ahead log if it is long. Outside a transaction; waits for nobody."""
    try:
        if os.stat(f"{path}-wal").st_size < LONG_LOG:
            return
    except OSError:
        return
    (waits,) = db.execute("PRAGMA busy_timeout").fetchall()[0]
    db.execute("PRAGMA busy_timeout = 0").fetchall()
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        db.execute(f"PRAGMA busy_timeout = {waits}").fetchall()

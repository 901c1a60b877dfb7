"""What time leaves behind: tombstones that nobody needs, old journal rows."""

from __future__ import annotations

from datetime import timedelta

from sessile.stores.sql import leases, noticing, working
from sessile.stores.sql.rows import instant, json_text
from sessile.stores.sql.transaction import Transaction

JOURNAL_KEPT = timedelta(days=7)
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
    # What is locked is in use: it is looked at again the next time.
    over = [seq for (seq,) in tx.rows(_OVER + tx.skip_locked, now, now, limit)]
    for table, column in (("token", "session"), ("session_data", "session"), ("session", "seq")):
        tx.change(f"DELETE FROM {table} WHERE {column} IN (SELECT value FROM json_each(?))", json_text(over))  # noqa: S608
    leases.sweep(tx, limit)
    noticing.sweep(tx)
    working.sweep(tx)
    tx.change(_SWEEP_JOURNAL, instant(tx.now - JOURNAL_KEPT), _JOURNAL_ROWS)
    return len(over)

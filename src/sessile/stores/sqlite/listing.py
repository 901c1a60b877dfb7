"""Sessions to show, in pages by key: no cursor is open between two pages."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from sessile.kernel.decide import info
from sessile.kernel.session import SessionInfo
from sessile.stores.protocol import Page
from sessile.stores.sqlite.directory import MOST
from sessile.stores.sqlite.rows import instant
from sessile.stores.sqlite.snapshots import Loaded, by_id, select

_TREE = """
s.id IN (
    WITH RECURSIVE tree (id) AS (
        SELECT :root UNION SELECT c.id FROM tree CROSS JOIN session c ON c.origin = tree.id
    )
    SELECT id FROM tree
)
"""
_GIVEN = "s.uid IS NOT NULL AND s.origin IN (SELECT id FROM session WHERE uid = :giver)"
_OPEN = "s.ended IS NULL AND s.expires > :now"


def list_sessions(
    db: sqlite3.Connection, now: datetime, *, uid: str | None, giver: str | None, root: str | None, ended: bool,
    after: str | None, limit: int,
) -> Page[SessionInfo]:  # fmt: skip
    """See `Store.sessions`."""
    limit = max(1, min(limit, MOST))
    # A session's number is above those of the sessions that it hangs on: upward, a tree comes givers first.
    upward = root is not None
    where = [_TREE] if upward else ["s.uid IS NOT NULL"]
    if uid is not None and not upward:
        where.append("s.uid = :uid")
    if giver is not None and not upward:
        where.append(_GIVEN)
    if not ended:
        where.append(_OPEN)  # leaves out only what is over for certain; `is_live` decides on the rest
    where.append("s.seq > :seq" if upward else "s.seq < :seq")
    sql = f"WHERE {' AND '.join(where)} ORDER BY s.seq {'ASC' if upward else 'DESC'} LIMIT :rows"
    values = {
        "uid": uid, "giver": giver, "root": root, "now": instant(now), "rows": limit + 1,
        "seq": _position(after, 0 if upward else 2**62),
    }  # fmt: skip
    found: list[tuple[int, SessionInfo]] = []
    while len(found) <= limit:
        rows = select(db, sql, values, now)
        found += [(row.seq, shown) for row in rows if (shown := info(row.snapshot, now)).live or ended]
        if len(rows) <= limit:
            break
        values["seq"] = rows[-1].seq
    page = found[:limit]
    return Page([shown for _, shown in page], str(page[-1][0]) if len(found) > limit else None)


def show_session(db: sqlite3.Connection, session_id: str, now: datetime) -> SessionInfo | None:
    """See `Store.session`."""
    found: Loaded | None = by_id(db, session_id, now)
    return info(found.snapshot, now) if found is not None else None


def _position(after: str | None, start: int) -> int:
    # `after` comes back from outside: what is no position of ours is the start.
    return int(after) if after is not None and after.isascii() and after.isdecimal() and len(after) < 19 else start

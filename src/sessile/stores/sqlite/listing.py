"""Sessions to show, in pages by key: no cursor is open between two pages."""

from __future__ import annotations

import re
import sqlite3
from datetime import datetime
from typing import Any

from sessile.kernel.decide import info, is_live
from sessile.kernel.session import Session, SessionInfo
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
_NEWEST_FIRST = "s.created DESC, s.id DESC"
_BEFORE_PLACE = "(s.created, s.id) < (:created, :id)"
_GIVERS_FIRST = "json_array_length(s.lineage), s.created, s.id"
_BELOW_PLACE = "(json_array_length(s.lineage), s.created, s.id) > (:depth, :created, :id)"
_OPEN = "s.ended IS NULL AND s.expires > :now"


def list_sessions(
    db: sqlite3.Connection, now: datetime, *, uid: str | None, giver: str | None, root: str | None, ended: bool,
    after: str | None, limit: int,
) -> Page[SessionInfo]:  # fmt: skip
    """See `Store.sessions`."""
    limit = max(1, min(limit, MOST))
    tree = root is not None
    where = [_TREE] if tree else ["s.uid IS NOT NULL"]
    if uid is not None and not tree:
        where.append("s.uid = :uid")
    if giver is not None and not tree:
        where.append(_GIVEN)
    if not ended:
        where.append(_OPEN)  # leaves out only what is over for certain; `is_live` decides on the rest
    values = {"uid": uid, "giver": giver, "root": root, "now": instant(now), "rows": limit + 1}
    values |= (place := _parse(after)) or {}
    if place is not None:
        where.append(_BELOW_PLACE if tree else _BEFORE_PLACE)
    found: list[Loaded] = []
    while True:
        order = _GIVERS_FIRST if tree else _NEWEST_FIRST
        rows = select(db, f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT :rows", values, now)
        found += [row for row in rows if ended or is_live(row.snapshot, now)]
        if len(found) > limit or len(rows) <= limit:
            break
        if place is None:
            where.append(_BELOW_PLACE if tree else _BEFORE_PLACE)
        values |= (place := _place(rows[-1].session))
    page = found[:limit]
    following = " ".join(map(str, _place(page[-1].session).values())) if len(found) > limit else None
    return Page([info(row.snapshot, now) for row in page], following)


def _place(session: Session) -> dict[str, Any]:
    return {"depth": len(session.lineage), "created": instant(session.created), "id": session.id}


def _parse(after: str | None) -> dict[str, Any] | None:
    # `after` comes back from outside: what is no place of ours is the beginning.
    found = re.fullmatch(r"([0-9]{1,2}) ([0-9]{1,18}) (ses_[0-9a-z]{27})", after or "")
    return {"depth": int(found[1]), "created": int(found[2]), "id": found[3]} if found else None


def show_session(db: sqlite3.Connection, session_id: str, now: datetime) -> SessionInfo | None:
    """See `Store.session`."""
    found: Loaded | None = by_id(db, session_id, now)
    return info(found.snapshot, now) if found is not None else None


def _position(after: str | None, start: int) -> int:
    # `after` comes back from outside: what is no position of ours is the start.
    return int(after) if after is not None and after.isascii() and after.isdecimal() and len(after) < 19 else start

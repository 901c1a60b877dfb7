"""Sessions to show, in pages by key: no cursor is open between two pages."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sessile.kernel.decide import info, is_live
from sessile.kernel.session import Session, SessionInfo
from sessile.stores.protocol import Page
from sessile.stores.sql.directory import MOST
from sessile.stores.sql.rows import instant
from sessile.stores.sql.snapshots import Loaded, by_id, select
from sessile.stores.sql.transaction import Db

_TREE = """
s.id IN (
    WITH RECURSIVE tree (id) AS (
        SELECT id FROM session WHERE id = :root UNION SELECT c.id FROM tree CROSS JOIN session c ON c.origin = tree.id
    )
    SELECT id FROM tree
)
"""
_GIVEN = "s.uid IS NOT NULL AND s.origin IN (SELECT id FROM session WHERE uid = :giver)"
# Order, and what is beyond a place in it.
_NEWEST_FIRST = ("s.created DESC, s.id DESC", "(s.created, s.id) < (:created, :id)")
# Found by their givers and then sorted: `+` keeps SQLite from walking all sessions in the order of an index.
_GIVEN_NEWEST_FIRST = ("+s.created DESC, +s.id DESC", "(+s.created, +s.id) < (:created, :id)")
_GIVERS_FIRST = (
    "json_array_length(s.lineage), s.created, s.id",
    "(json_array_length(s.lineage), s.created, s.id) > (:depth, :created, :id)",
)
# What this leaves out is over for certain; `is_live` decides on the rest.
_OPEN = "s.ended IS NULL AND s.expires > :now AND (s.uid IS NULL OR s.epoch = p.epoch)"


def list_sessions(
    db: Db, now: datetime, *, uid: str | None, giver: str | None, root: str | None, ended: bool,
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
        where.append(_OPEN)
    values = {"uid": uid, "giver": giver, "root": root, "now": instant(now), "rows": limit + 1}
    order, beyond = _GIVERS_FIRST if tree else _NEWEST_FIRST if giver is None else _GIVEN_NEWEST_FIRST
    place = _parse(after)
    found: list[Loaded] = []
    while True:
        conditions = " AND ".join(where if place is None else [*where, beyond])
        rows = select(db, f"WHERE {conditions} ORDER BY {order} LIMIT :rows", {**values, **(place or {})}, now)
        found += [row for row in rows if ended or is_live(row.snapshot, now)]
        if len(found) > limit or len(rows) <= limit:
            break
        place = _place(rows[-1].session)
    page = found[:limit]
    following = " ".join(map(str, _place(page[-1].session).values())) if len(found) > limit else None
    return Page([info(row.snapshot, now) for row in page], following)


def _place(session: Session) -> dict[str, Any]:
    return {"depth": len(session.lineage), "created": instant(session.created), "id": session.id}


def _parse(after: str | None) -> dict[str, Any] | None:
    # `after` comes back from outside: what is no place of ours is the beginning.
    found = re.fullmatch(r"([0-9]{1,2}) ([0-9]{1,18}) (ses_[0-9a-z]{27})", after or "")
    return {"depth": int(found[1]), "created": int(found[2]), "id": found[3]} if found else None


def show_session(db: Db, session_id: str, now: datetime) -> SessionInfo | None:
    """See `Store.session`."""
    found: Loaded | None = by_id(db, session_id, now)
    return info(found.snapshot, now) if found is not None else None
